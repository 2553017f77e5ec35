"""Fit probes to a space's anchor, and measure them in every survey.

A probe is fitted on the train and validation parts of the sky (`catalogs.splits`). A fifth of the
cells there are left out and set the scale of its errors. It is measured on the test part, which no
encoder of the space was trained on. The probe stores these errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy_healpix import lonlat_to_healpix

from catalogs.splits import choose_split
from evaluation.probes.error_scale import error_factors
from evaluation.probes.errors import FEWEST, measure_probes
from evaluation.probes.labelled_latents import FITTED_SYMMETRIES, LabelledLatents, encode_labelled
from evaluation.probes.network import fit_networks
from evaluation.probes.quantities import KnownQuantity, Quantity, find_quantities
from evaluation.targets import encoder_for, known_splits
from evaluation.truth import truth_positions
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.samples import Sample
from galaxy_da.models.probes import Link, Probe
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey

_SHARE_WEIGHT = 0.5  # of `fit_networks`, as many galaxies have no bar and no arms
_FOLDS = 5  # of the cells, one of which sets the scale of the errors


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """Settings of `fit_probes`.

    `columns` of the truth table are fitted unchanged; by default they are the quantities known to
    `evaluation.probes.quantities`. `own_surveys` defines surveys that neither the space nor the
    library knows. `seed` draws the networks' first weights.
    """

    columns: tuple[str, ...] = ()
    own_surveys: Mapping[str, Survey] = field(default_factory=dict)
    seed: int = 0


def fit_probes(
    space: LatentSpace,
    anchor: Sample,
    truth: pa.Table,
    others: Sequence[Sample] = (),
    settings: ProbeSettings | None = None,
) -> tuple[Probe, ...]:
    """Fit a probe to each quantity of a truth table and measure it in every survey.

    Parameters
    ----------
    space : LatentSpace
        Space whose anchor latents the probes take.
    anchor : Sample
        Cutouts of the anchor survey.
    truth : pa.Table
        Truth or labels, joined by ``object_id`` or, as in a simulated sky, ``SURVEY_id``; without
        ``ra`` and ``dec`` the anchor's positions are used.
    others : sequence of Sample
        Cutouts of other surveys that show galaxies of `truth`, adapted or read by definition.
    settings : ProbeSettings, optional
        Columns, encoders and seed.

    Returns
    -------
    tuple of Probe

    Raises
    ------
    TableError
        If truth and sample do not join, or nothing in the truth can be fitted.
    CatalogError
        If fewer than 50 galaxies fall on either side of the split of the sky.
    SurveyError
        If nothing defines the survey of a sample.
    """
    settings = settings or ProbeSettings()
    if anchor.survey != space.anchor:
        raise TableError(
            f"{anchor.path}: holds {anchor.survey} but probes are fitted on the anchor of the "
            f"space, {space.anchor}"
        )
    names = [sample.survey for sample in (anchor, *others)]
    if len(set(names)) < len(names):
        raise TableError(f"samples must be of different surveys but are of {', '.join(names)}")
    quantities = find_quantities(truth, settings.columns)
    sky = truth_positions(truth, anchor)
    ra, dec = sky[:, sky.any(0)]  # galaxies that the sample lacks are at zero
    split = choose_split(ra, dec, known_splits(space))
    test = split.part(*sky) == "test"
    own = space.encoder(space.anchor)
    latents = [encode_labelled(space, own, anchor, truth, symmetric=True)]
    for sample in others:
        encoder = encoder_for(space, sample, space.survey(sample.survey, settings.own_surveys))
        latents.append(encode_labelled(space, encoder, sample, truth, test))
    cells = np.asarray(lonlat_to_healpix(*(sky * u.deg), 2**split.order, order="nested"))
    fitted = [
        fit_probe(known, latents[0], ~test, cells, settings.seed) for known in quantities.values()
    ]
    return measure_probes(
        fitted, latents, {name: known.values for name, known in quantities.items()}, test
    )


def fit_probe(
    known: KnownQuantity,
    latents: LabelledLatents,
    use: np.ndarray,
    cells: np.ndarray,
    seed: int = 0,
) -> Probe:
    """Fit one probe to the galaxies of `use`, (truth rows,) bool.

    All symmetries of the summaries are fitted; the targets of an angle rotate with them. A fifth of
    the `cells`, (truth rows,) int, are left out of the fit and set the scale of the errors.
    """
    quantity, targets = known.quantity, known.targets
    fine = use[latents.rows] & np.isfinite(targets[latents.rows]).all(1)
    if fine.sum() < FEWEST or np.ptp(targets[latents.rows[fine]]) == 0:
        raise CatalogError(
            f"{quantity.name}: {int(fine.sum())} observations outside the test part of "
            f"the sky have a value, at least {FEWEST} that differ are needed"
        )
    rows, vectors = latents.rows[fine], latents.vectors[:, fine]
    names = np.unique(cells[rows])
    if len(names) < 2:
        raise CatalogError("all galaxies lie in one cell of the sky; a fit needs a larger area")
    left_out = np.random.default_rng(seed).permutation(names)[: max(1, len(names) // _FOLDS)]
    held = np.isin(cells[rows], left_out)
    numbers = FITTED_SYMMETRIES[: len(vectors)]
    y = np.stack([targets_by_symmetry(targets[rows], quantity.link, k) for k in numbers])
    width = vectors.shape[-1]
    probe = fit_summaries(
        quantity, vectors[:, ~held].reshape(-1, width), y[:, ~held].reshape(-1, y.shape[-1]), seed
    )
    probe = replace(probe, population=population_spread(known.values[rows], quantity.link))
    return error_factors(probe, vectors[0, held], known.values[rows[held]])


def fit_summaries(
    quantity: Quantity, summaries: np.ndarray, targets: np.ndarray, seed: int = 0
) -> Probe:
    """Fit a probe to (n, inputs) summaries and (n, k) targets, all of them known."""
    centre, spread = summaries.mean(0), np.maximum(summaries.std(0), 1e-3)
    is_share = (quantity.low, quantity.high) == (0.0, 1.0)
    weights, biases = fit_networks(
        (summaries - centre) / spread,
        targets,
        quantity.link,
        seed,
        weight=_SHARE_WEIGHT if is_share else 0.0,
    )
    return Probe(
        name=quantity.name,
        description=quantity.description,
        unit=quantity.unit,
        ucd=quantity.ucd,
        link=quantity.link,
        low=quantity.low,
        high=quantity.high,
        centre=centre.astype(np.float32),
        spread=spread.astype(np.float32),
        weights=weights,
        biases=biases,
    )


def population_spread(values: np.ndarray, link: Link) -> float | None:
    """Return the spread of a quantity over the galaxies of the fit; none of a probability."""
    if link == "logistic":
        return None
    if link == "angle":
        return float(180 / np.sqrt(12))
    return float(np.std(np.log(values) if link == "exp" else values))


def targets_by_symmetry(targets: np.ndarray, link: Link, number: int) -> np.ndarray:
    """Transform (n, k) targets as a dihedral symmetry, number 0 to 7, transforms the image.

    Only the two components of an ``angle`` change.
    """
    if link != "angle":
        return targets
    mirrored, quarters = divmod(number, 4)
    signs = np.array([1.0, -1.0 if mirrored else 1.0]) * (-1.0) ** quarters
    return targets * signs
