"""Fit probes to a space's anchor, or to several surveys, and measure them in every survey.

A probe is fitted on the train and validation parts of the sky (`catalogs.splits`), with a penalty
chosen there by cross-validation over sky cells. It is measured on the test part, which no encoder
of the space was trained on. The probe stores these errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy_healpix import lonlat_to_healpix

from catalogs.splits import choose_split
from evaluation.probes.errors import FEWEST, measure_probes
from evaluation.probes.labelled_latents import LabelledLatents, encode_labelled, joined
from evaluation.probes.network import ProbeNetwork
from evaluation.probes.quantities import KnownQuantity, find_quantities
from evaluation.targets import encoder_for, known_splits
from evaluation.truth import truth_positions
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.samples import Sample
from galaxy_da.models.probes import Link, Probe
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey

__all__ = ["ProbeSettings", "fit_probe", "fit_probes", "targets_by_symmetry"]


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """Settings of `fit_probes`.

    `columns` of the truth table are fitted unchanged; by default they are the quantities known to
    `evaluation.probes.quantities`. `every_survey` fits to the observations of all samples together,
    not to the anchor's alone. `own_surveys` defines surveys that neither the space nor the library
    knows. `seed` draws the networks' first weights.
    """

    columns: tuple[str, ...] = ()
    every_survey: bool = False
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
        survey = space.survey(sample.survey, settings.own_surveys)
        encoder, every = encoder_for(space, sample, survey), settings.every_survey
        used = None if every else test
        latents.append(encode_labelled(space, encoder, sample, truth, used, symmetric=every))
    cells = np.asarray(lonlat_to_healpix(*(sky * u.deg), 2**split.order, order="nested"))
    known_latents = joined(latents) if settings.every_survey else latents[0]
    fitted = [
        fit_probe(known, known_latents, ~test, cells, settings.seed)
        for known in quantities.values()
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

    All symmetries of the latents are fitted; the targets of an angle rotate with them.
    Cross-validation keeps each of the `cells`, (truth rows,) int, whole.
    """
    quantity, targets = known.quantity, known.targets
    fine = use[latents.rows] & np.isfinite(targets[latents.rows]).all(1)
    if fine.sum() < FEWEST or np.ptp(targets[latents.rows[fine]]) == 0:
        raise CatalogError(
            f"{quantity.name}: {int(fine.sum())} observations outside the test part of "
            f"the sky have a value, at least {FEWEST} that differ are needed"
        )
    rows, vectors = latents.rows[fine], latents.vectors[:, fine]
    centre, spread = vectors[0].mean(0), np.maximum(vectors[0].std(0), 1e-6)
    x = (vectors - centre) / spread
    y = np.stack(
        [targets_by_symmetry(targets[rows], quantity.link, number) for number in range(len(x))]
    )
    network = ProbeNetwork(quantity.link, seed)
    penalty = network.choose(x, y, cells[rows])
    weights, biases = network.fit(x, y, penalty)
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
        weights=tuple(weight.astype(np.float32) for weight in weights),
        biases=tuple(bias.astype(np.float32) for bias in biases),
    )


def targets_by_symmetry(targets: np.ndarray, link: Link, number: int) -> np.ndarray:
    """Transform (n, k) targets as a dihedral symmetry, number 0 to 7, transforms the image.

    Only the two components of an ``angle`` change.
    """
    if link != "angle":
        return targets
    mirrored, quarters = divmod(number, 4)
    signs = np.array([1.0, -1.0 if mirrored else 1.0]) * (-1.0) ** quarters
    return targets * signs
