"""Galaxies whose images disagree between two surveys: transients, artefacts, wrong matches.

Two images of a galaxy never have the same latents: noise, seeing and the encoders separate them.
The expected distance depends on brightness, on direction and on the part of the latent space.
`relative_distance` divides the distance by it.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import LatentIndexError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Selection
from galaxy_da.queries.neighbours import nearest_others, whitened
from galaxy_da.queries.rows import posteriors, result_table
from galaxy_da.queries.sky import counterparts

__all__ = ["disagreement", "relative_distance"]

_PAIRS_PER_LATENT = 5
_KEPT_SHARE = 0.8
_STEPS = 10
_SIMILAR = 50
_TINY = 1e-12


def disagreement(
    index: StoredIndex, within: Selection, survey: str | None, k: int, radius_arcsec: float
) -> pa.Table:
    """Rank galaxies by the latent distance between two surveys, relative to the expected one.

    The galaxies are those whose positions in two surveys are mutual nearest neighbours. A given
    survey is compared with each other one; without it, all pairs of surveys are. The result is that
    of `galaxy_da.queries.outliers.outliers`, with `relative_distance` as ``outlier_score``.
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
        pair = counterparts(
            index,
            _rows_of_survey(index, rows, one),
            _rows_of_survey(index, rows, other),
            radius_arcsec,
        )
        counts.append(f"{one} and {other} {len(pair[0])}")
        if len(pair[0]) >= enough:
            here, there = posteriors(index, pair[0]), posteriors(index, pair[1])
            distance = np.linalg.norm(here[0] - there[0], axis=1)
            parts.append((*pair, relative_distance(*here, *there), distance))
    if not parts:
        raise LatentIndexError(
            f"disagreement needs two surveys with at least {enough} galaxies in common within "
            f"{radius_arcsec:g} arcsec; in common: {', '.join(counts) or 'no two surveys'}"
        )
    first, second, separation, score, distance = map(np.concatenate, zip(*parts, strict=True))
    top = np.argsort(-score, kind="stable")[:k]
    there = index.take(second[top], ["survey", "object_id", "flags"])
    table = result_table(
        index,
        first[top],
        other_survey=there["survey"],
        other_id=there["object_id"],
        separation_arcsec=separation[top],
        distance=distance[top],
        outlier_score=score[top],
    )
    flags = pc.bit_wise_or(table["flags"], there["flags"])
    return table.set_column(table.num_columns - 1, "flags", flags)


def relative_distance(
    mean1: np.ndarray, variance1: np.ndarray, mean2: np.ndarray, variance2: np.ndarray
) -> np.ndarray:
    """Return the ratio of the distance between two images of each galaxy to the expected one, (n,).

    Means and variances are (n, d) posteriors of n galaxies in two surveys, a few of them wrong
    pairs. The distance is the Mahalanobis distance of the pair's shift. The mean shift and the
    scatter of the two surveys come from the 80% of pairs that agree best (concentration steps of
    the deterministic MCD, Hubert et al. 2012, J. Comput. Graph. Stat. 21, 618). The distance is
    divided by the distance predicted from the posterior variances, then by the median of this
    ratio over the 50 most similar galaxies. The median result is therefore about 1.
    """
    shift = np.subtract(mean1, mean2, dtype=np.float64)
    log_squared = np.log(_squared_distance(shift) + _TINY)
    noise = [
        np.log(np.maximum(variance, _TINY)).mean(axis=1) for variance in (variance1, variance2)
    ]
    terms = np.stack([np.ones(len(shift)), *noise], axis=1)
    residual = log_squared - terms @ np.linalg.lstsq(terms, log_squared, rcond=None)[0]
    _, similar = nearest_others((mean1 + mean2) / 2, _SIMILAR)
    return np.asarray(np.exp((residual - np.median(residual[similar], axis=1)) / 2))


def _squared_distance(shift: np.ndarray) -> np.ndarray:
    """Return the squared Mahalanobis distance from the centre of the majority of points."""
    kept = int(np.ceil(_KEPT_SHARE * len(shift)))
    centred = shift - np.median(shift, axis=0)
    spread = np.median(np.abs(centred), axis=0) + _TINY
    squared = np.square(centred / spread).sum(axis=1)
    for _ in range(_STEPS):
        most = np.argpartition(squared, kept - 1)[:kept]
        squared = np.square(whitened(shift, shift[most])).sum(axis=1, dtype=np.float64)
    return np.asarray(squared)


def _rows_of_survey(index: StoredIndex, rows: np.ndarray, survey: str) -> np.ndarray:
    start, stop = index.span(survey)
    low, high = np.searchsorted(rows, [start, stop])
    return rows[low:high]
