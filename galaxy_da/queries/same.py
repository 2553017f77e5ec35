"""The same galaxy in the other surveys, and whether its images say so too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from galaxy_da.errors import SpaceError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Condition, Cone
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.models.match_probability import probability
from galaxy_da.queries.distances import random_pairs
from galaxy_da.queries.rows import answer, match_model, posteriors, separations
from galaxy_da.queries.sky import counterparts

if TYPE_CHECKING:
    from galaxy_da.space import LatentSpace

__all__ = ["SAME_PAIRS", "same"]

SAME_PAIRS = 20_000
"""Objects, at most, whose counterparts a distance is compared with."""

_SEED = 0


def same(
    index: StoredIndex,
    key: str,
    radius_arcsec: float = 1.0,
    *,
    space: LatentSpace | None = None,
    prior: float = 0.5,
    where: Condition | Iterable[Condition] = (),
    cone: Cone | None = None,
) -> pa.Table:
    """Find a galaxy in the other surveys, by position, and compare the images.

    Parameters
    ----------
    index : StoredIndex
        Of at least two surveys.
    key : str
        ``survey:object_id``.
    radius_arcsec : float
        How far its counterparts may be [arcsec].
    space : LatentSpace, optional
        Gives the probability that two images show one galaxy (`LatentSpace.sameness`).
    prior : float
        Of that probability, before the images are seen.
    where, cone : optional
        Look among the objects that meet these only (`StoredIndex.select`).

    Returns
    -------
    pa.Table
        ``rank`` (from 1), ``survey``, ``object_id``, ``ra``, ``dec`` [deg], ``separation_arcsec``,
        ``distance`` in latents; ``percentile_same`` and ``percentile_random``, the shares (0 to 1)
        of pairs of these surveys that are closer: each other's nearest within the radius, and drawn
        at random (null where there are none); with a space ``match_probability`` (null for
        surveys it has no
        model of); ``flags``. Nearest on the sky first; no row if there is no counterpart.

    Raises
    ------
    LatentIndexError
        If the key or a column is unknown, no object meets the conditions, or the index is of
        another space or encoders.
    ValueError
        If the radius is negative or not finite, or the prior is not between 0 and 1.
    """
    if not 0 <= radius_arcsec < np.inf:
        raise ValueError(f"radius must be finite and not negative but is {radius_arcsec}")
    own = index.row(key)
    survey = index.rows["survey"][own].as_py()
    rows = index.select(where=where, cone=cone).rows
    start, stop = index.span(survey)
    rows = rows[(rows < start) | (rows >= stop)]
    separation = _separation(index, own, rows)
    near = np.flatnonzero(separation <= radius_arcsec)
    near = near[np.argsort(separation[near], kind="stable")]
    found = rows[near]
    distance = separations(index.vectors, np.full(len(found), own), found)
    measures = {"separation_arcsec": separation[near], "distance": distance}
    names = index.take(found, ["survey"])["survey"].to_numpy()
    measures |= _percentiles(index, survey, names, distance, radius_arcsec)
    if space is not None:
        measures["match_probability"] = _probabilities(
            index, space, survey, own, found, names, prior
        )
    return answer(index, found, **measures)


def _separation(index: StoredIndex, own: int, rows: np.ndarray) -> np.ndarray:
    """Angles between an object and others [arcsec]."""
    ra, dec = (index.rows[name].to_numpy() for name in ("ra", "dec"))
    return separation_arcsec(ra[own], dec[own], ra[rows], dec[rows])


def _percentiles(
    index: StoredIndex, survey: str, names: np.ndarray, distance: np.ndarray, radius_arcsec: float
) -> dict[str, pa.Array]:
    """Shares of same and of random pairs that are closer, null where there are none."""
    shares = {name: np.full(len(names), np.nan) for name in ("same", "random")}
    anchors = np.arange(*index.span(survey))
    if len(anchors) > SAME_PAIRS:
        chosen = np.random.default_rng(_SEED).choice(len(anchors), SAME_PAIRS, replace=False)
        anchors = anchors[np.sort(chosen)]
    for name in np.unique(names):
        own, targets = names == name, np.arange(*index.span(name))
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
    index: StoredIndex,
    space: LatentSpace,
    survey: str,
    own: int,
    found: np.ndarray,
    names: np.ndarray,
    prior: float,
) -> pa.Array:
    index.check_space(space.id)
    match_probability = np.full(len(found), np.nan)
    for name in np.unique(names):
        try:
            model = match_model(index, space, survey, name)
        except SpaceError:
            continue
        observations = posteriors(index, np.array([own])), posteriors(index, found[names == name])
        match_probability[names == name] = probability(
            model.log_ratio(*observations[0], *observations[1]), prior
        )
    return _nullable(match_probability)


def _nullable(values: np.ndarray) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))
