"""Counterparts of a galaxy in the other surveys, with a comparison of the images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from galaxy_da.errors import SpaceError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Subset
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.models.match_probability import probability
from galaxy_da.queries.distances import random_pairs
from galaxy_da.queries.rows import match_model, posteriors, result_table, select, separations
from galaxy_da.queries.sky import counterparts

if TYPE_CHECKING:
    from galaxy_da.space import LatentSpace

COMPARED_OBJECTS = 20_000
"""Largest number of objects whose counterparts give the percentiles."""

_SEED = 0


def same(
    index: StoredIndex,
    key: str,
    radius_arcsec: float = 1.0,
    *,
    space: LatentSpace | None = None,
    prior: float = 0.5,
    within: Subset | None = None,
) -> pa.Table:
    """Find a galaxy in the other surveys by position, and compare the images.

    Parameters
    ----------
    key : str
        Key of the galaxy, ``survey:object_id``.
    radius_arcsec : float
        Radius of the search [arcsec].
    space, prior
        As for `galaxy_da.queries.distances.distances`; the prior is 1/2 by default.
    within : Subset, optional
        Conditions on the counterparts.

    Returns
    -------
    pa.Table
        ``rank`` (from 1), ``survey``, ``object_id``, ``ra``, ``dec`` [deg], ``separation_arcsec``,
        ``distance`` in latents; ``percentile_same`` and ``percentile_random``, the shares (0 to 1)
        of counterparts and of random pairs of these surveys with a smaller latent distance (null
        if there are none); with a space, ``match_probability`` (null for surveys without a model);
        ``flags``. Nearest on the sky first. No row if there is no counterpart.
    """
    if not 0 <= radius_arcsec < np.inf:
        raise ValueError(f"radius must be finite and not negative but is {radius_arcsec}")
    own = index.row(key)
    survey = index.rows["survey"][own].as_py()
    rows = select(index, None, within).rows
    start, stop = index.span(survey)
    rows = rows[(rows < start) | (rows >= stop)]
    ra, dec = (index.rows[name].to_numpy() for name in ("ra", "dec"))
    separation = separation_arcsec(ra[own], dec[own], ra[rows], dec[rows])
    near = np.flatnonzero(separation <= radius_arcsec)
    near = near[np.argsort(separation[near], kind="stable")]
    rows = rows[near]
    distance = separations(index.vectors, np.full(len(rows), own), rows)
    measures = {"separation_arcsec": separation[near], "distance": distance}
    surveys = index.take(rows, ["survey"])["survey"].to_numpy()
    measures |= _percentiles(index, survey, surveys, distance, radius_arcsec)
    if space is not None:
        measures["match_probability"] = _probabilities(index, space, own, rows, prior)
    return result_table(index, rows, **measures)


def _percentiles(
    index: StoredIndex, survey: str, others: np.ndarray, distance: np.ndarray, radius_arcsec: float
) -> dict[str, pa.Array]:
    """Return the shares of counterparts and of random pairs that are closer, null if none."""
    shares = {name: np.full(len(others), np.nan) for name in ("same", "random")}
    anchors = np.arange(*index.span(survey))
    if len(anchors) > COMPARED_OBJECTS:
        chosen = np.random.default_rng(_SEED).choice(len(anchors), COMPARED_OBJECTS, replace=False)
        anchors = anchors[np.sort(chosen)]
    for name in np.unique(others):
        own, targets = others == name, np.arange(*index.span(name))
        first, second, _ = counterparts(index, anchors, targets, radius_arcsec)
        pairs = {"same": (first, second)}
        spans = index.span(survey), index.span(name)
        if len(first) < (spans[0][1] - spans[0][0]) * len(targets):
            pairs["random"] = random_pairs(*spans, first, second)
        for kind, (here, there) in pairs.items():
            if len(here):
                known = np.sort(separations(index.vectors, here, there))
                shares[kind][own] = np.searchsorted(known, distance[own]) / len(known)
    return {f"percentile_{kind}": _nullable(share) for kind, share in shares.items()}


def _probabilities(
    index: StoredIndex, space: LatentSpace, own: int, rows: np.ndarray, prior: float
) -> pa.Array:
    """Return the match probability of an object with each of some rows."""
    index.check_space(space.id)
    survey = index.rows["survey"][own].as_py()
    others = index.take(rows, ["survey"])["survey"].to_numpy()
    result = np.full(len(rows), np.nan)
    for name in np.unique(others):
        try:
            model = match_model(index, space, survey, name)
        except SpaceError:
            continue
        here = posteriors(index, np.array([own]))
        there = posteriors(index, rows[others == name])
        result[others == name] = probability(model.log_ratio(*here, *there), prior)
    return _nullable(result)


def _nullable(values: np.ndarray) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))
