"""Galaxies of which two surveys show different things: transients, artefacts, wrong matches.

Two images of one galaxy never fall on one point: noise, seeing and the encoders part them, more in
some directions, for faint galaxies, and in some parts of the space. `excess` is what is left.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pyarrow as pa

from galaxy_da.errors import LatentIndexError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Selection
from galaxy_da.queries.neighbours import nearest_others, whitened
from galaxy_da.queries.rows import posteriors
from galaxy_da.queries.sky import counterparts

__all__ = ["disagreement", "excess"]

_PAIRS_PER_LATENT = 5
_KEPT_SHARE = 0.8
_STEPS = 10
_ALIKE = 50
_TINY = 1e-12


def disagreement(
    index: StoredIndex, within: Selection, survey: str | None, k: int, radius_arcsec: float
) -> pa.Table:
    """Rank galaxies by how far apart two surveys' images of them lie, beyond what is usual.

    The galaxies are those whose positions in two surveys are each other's nearest.

    Parameters
    ----------
    index : StoredIndex
        Of at least two surveys, with ``variance``.
    within : Selection
        Objects that may take part.
    survey : str, optional
        Compare it with each other survey; by default every two surveys.
    k : int
        How many pairs; fewer where there are not so many.
    radius_arcsec : float
        Farthest that positions may be apart [arcsec].

    Returns
    -------
    pa.Table
        As `galaxy_da.queries.outliers.outliers` says; ``outlier_score`` is `excess`.

    Raises
    ------
    LatentIndexError
        If the survey is not in the index, no two surveys have enough galaxies in common, or the
        index holds no variances.
    """
    index.span(survey)
    if "variance" not in index.rows.column_names:
        raise LatentIndexError("the index holds no variances, which disagreement needs")
    enough = _PAIRS_PER_LATENT * (index.dimension + 1)
    parts, counts = [], []
    rows = within.rows
    for one, other in combinations(index.surveys, 2):
        if survey not in (None, one, other):
            continue
        one, other = (other, one) if survey == other else (one, other)
        pair = counterparts(index, _of(index, rows, one), _of(index, rows, other), radius_arcsec)
        counts.append(f"{one} and {other} {len(pair[0])}")
        if len(pair[0]) >= enough:
            observations = [
                observation for own in pair[:2] for observation in posteriors(index, own)
            ]
            parts.append(
                (
                    *pair,
                    excess(*observations),
                    np.linalg.norm(observations[0] - observations[2], axis=1),
                )
            )
    if not parts:
        raise LatentIndexError(
            f"disagreement takes two surveys with at least {enough} galaxies in common within "
            f"{radius_arcsec:g} arcsec; in common: {', '.join(counts) or 'no two surveys'}"
        )
    first, second, separation, score, distance = map(np.concatenate, zip(*parts, strict=True))
    top = np.argsort(-score, kind="stable")[:k]
    here = index.take(first[top], ["survey", "object_id", "ra", "dec", "flags"])
    there = index.take(second[top], ["survey", "object_id", "flags"])
    flags = here["flags"].to_numpy() | there["flags"].to_numpy()
    return pa.table(
        {
            "rank": np.arange(1, len(top) + 1, dtype=np.int32),
            **{name: here[name] for name in ("survey", "object_id", "ra", "dec")},
            "other_survey": there["survey"],
            "other_id": there["object_id"],
            "separation_arcsec": separation[top],
            "distance": distance[top],
            "outlier_score": score[top],
            "flags": flags,
        }
    )


def excess(
    mean1: np.ndarray, variance1: np.ndarray, mean2: np.ndarray, variance2: np.ndarray
) -> np.ndarray:
    """How many times farther apart two images of each galaxy lie than is usual.

    The distance is Mahalanobis': in units of the scatter of this pair of surveys, its systematic
    shift taken off, both measured on the 80% of pairs that agree best (concentration steps of the
    deterministic MCD, Hubert et al. 2012, J. Comput. Graph. Stat. 21, 618). It is divided by what
    the posterior variances lead to expect, and by the median of the 50 galaxies most alike.

    Parameters
    ----------
    mean1, variance1, mean2, variance2 : (n, d) float arrays
        Posteriors of n galaxies in two surveys, some of which may be wrong.

    Returns
    -------
    (n,) float array
        About 1 for half of them.
    """
    shift = np.subtract(mean1, mean2, dtype=np.float64)
    log_squared = np.log(_squared_distance(shift) + _TINY)
    noise = [
        np.log(np.maximum(variance, _TINY)).mean(axis=1) for variance in (variance1, variance2)
    ]
    terms = np.stack([np.ones(len(shift)), *noise], axis=1)
    left = log_squared - terms @ np.linalg.lstsq(terms, log_squared, rcond=None)[0]
    _, alike = nearest_others((mean1 + mean2) / 2, _ALIKE)
    return np.asarray(np.exp((left - np.median(left[alike], axis=1)) / 2))


def _squared_distance(shift: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distance from the middle of most of the points."""
    kept = int(np.ceil(_KEPT_SHARE * len(shift)))
    centred = shift - np.median(shift, axis=0)
    spread = np.median(np.abs(centred), axis=0) + _TINY
    squared = np.square(centred / spread).sum(axis=1)
    for _ in range(_STEPS):
        most = np.argpartition(squared, kept - 1)[:kept]
        squared = np.square(whitened(shift, shift[most])).sum(axis=1, dtype=np.float64)
    return np.asarray(squared)


def _of(index: StoredIndex, rows: np.ndarray, survey: str) -> np.ndarray:
    start, stop = index.span(survey)
    low, high = np.searchsorted(rows, [start, stop])
    return rows[low:high]
