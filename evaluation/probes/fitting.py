"""Fit probes to a space's anchor and measure them in every survey.

Cells of the sky keep the parts apart: a probe is fitted on the train and validation parts of the
sky (`catalogs.splits`), its regularisation chosen there by cross-validation over cells, and
measured on the test part, which no encoder of the space has seen. What is measured is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy_healpix import lonlat_to_healpix

from catalogs.splits import sky_split
from evaluation.probes.errors import FEWEST, measure_probes
from evaluation.probes.network import ProbeNetwork
from evaluation.probes.observations import Observed, observe_truth, truth_positions
from evaluation.probes.quantities import Quantity, find_quantities
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.samples import Sample
from galaxy_da.models.probes import Link, Probe
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey

__all__ = ["fit_probe", "fit_probes", "targets_by_symmetry"]

_NSIDE = 64  # of the cells of `sky_split`


def fit_probes(
    space: LatentSpace,
    anchor: Sample,
    truth: pa.Table,
    others: Sequence[Sample] = (),
    *,
    columns: Sequence[str] = (),
    unadapted: bool = False,
    own: Mapping[str, Survey] | None = None,
    seed: int = 0,
) -> tuple[Probe, ...]:
    """Fit a probe to each quantity of a truth table and measure it in every survey.

    Parameters
    ----------
    space : LatentSpace
        Its anchor's latents are what probes read.
    anchor : Sample
        The anchor's cutouts.
    truth : pa.Table
        Truth or labels, joined by ``object_id`` or, as in a simulated sky, ``SURVEY_id``; with
        ``ra`` and ``dec`` of its own or else the anchor's.
    others : sequence of Sample
        Other surveys' cutouts of galaxies in `truth`, to measure on.
    columns : sequence of str
        Columns of `truth` to fit as they are; by default what `evaluation.probes.quantities` knows.
    unadapted : bool
        Measure surveys without an encoder through the anchor's.
    own : dict of str to Survey, optional
        Definitions of surveys that neither the space nor the library knows.
    seed : int
        Of the networks' first weights.

    Returns
    -------
    tuple of Probe

    Raises
    ------
    TableError
        If truth and sample do not join, or nothing in the truth can be fitted.
    CatalogError
        If fewer than 50 galaxies fall on either side of the split of the sky.
    SpaceError
        If a survey has no encoder and `unadapted` is false.
    """
    if anchor.survey != space.anchor:
        raise TableError(
            f"{anchor.path}: holds {anchor.survey} but probes are fitted on the anchor of the "
            f"space, {space.anchor}"
        )
    names = [sample.survey for sample in (anchor, *others)]
    if len(set(names)) < len(names):
        raise TableError(f"samples must be of different surveys but are of {', '.join(names)}")
    quantities = find_quantities(truth, columns)
    sky = truth_positions(truth, anchor)
    part = sky_split(*sky, nside=_NSIDE)
    test = part == "test"
    seen = [observe_truth(space, anchor, truth, symmetric=True)]
    seen += [
        observe_truth(space, sample, truth, test, unadapted=unadapted, own=own) for sample in others
    ]
    cell = np.asarray(lonlat_to_healpix(*(sky * u.deg), _NSIDE, order="nested"))
    fitted = [
        fit_probe(quantity, seen[0], targets, ~test, cell, seed)
        for quantity, _, targets in quantities.values()
    ]
    truths = {name: values for name, (_, values, _) in quantities.items()}
    return measure_probes(fitted, seen, truths, test)


def fit_probe(
    quantity: Quantity,
    seen: Observed,
    targets: np.ndarray,
    use: np.ndarray,
    cell: np.ndarray,
    seed: int = 0,
) -> Probe:
    """Fit one probe.

    Parameters
    ----------
    quantity : Quantity
        What it gives.
    seen : Observed
        The anchor's latents; all views are fitted, an angle's targets turned with them.
    targets : (truth rows, k) float array
        What the network is to give, NaN where unknown.
    use : (truth rows,) bool array
        Galaxies that may be fitted.
    cell : (truth rows,) int array
        Part of the sky; cross-validation keeps each whole.
    seed : int
        Of the network's first weights.

    Raises
    ------
    CatalogError
        If fewer than 50 galaxies remain, or a probability's are all alike.
    """
    fine = use[seen.rows] & np.isfinite(targets[seen.rows]).all(1)
    if fine.sum() < FEWEST or np.ptp(targets[seen.rows[fine]]) == 0:
        raise CatalogError(
            f"{quantity.name}: {int(fine.sum())} galaxies of the anchor outside the test part of "
            f"the sky have a value, at least {FEWEST} that differ are needed"
        )
    rows, views = seen.rows[fine], seen.vectors[:, fine]
    centre, spread = views[0].mean(0), np.maximum(views[0].std(0), 1e-6)
    x = (views - centre) / spread
    y = np.stack(
        [targets_by_symmetry(targets[rows], quantity.link, view) for view in range(len(views))]
    )
    network = ProbeNetwork(quantity.link, seed)
    penalty = network.choose(x, y, cell[rows])
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


def targets_by_symmetry(targets: np.ndarray, link: Link, view: int) -> np.ndarray:
    """Transform targets as one of the dihedral symmetries transforms the image.

    Parameters
    ----------
    targets : (n, k) float array
        Of the upright view.
    link : str
        Only an ``angle``'s two components change.
    view : int
        0 to 7.
    """
    if link != "angle":
        return targets
    mirrored, quarters = divmod(view, 4)
    signs = np.array([1.0, -1.0 if mirrored else 1.0]) * (-1.0) ** quarters
    return targets * signs
