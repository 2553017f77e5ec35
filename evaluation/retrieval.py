"""Retrieval: rank the same galaxy of another survey by latent distance.

Recall and its intervals follow from the ranks, which may be those of a stratum
(`evaluation.strata`) or among hard distractors (`evaluation.distractors`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import mannwhitneyu

_QUERIES_AT_ONCE = 1000
_BOOTSTRAPS = 1000
_BOOTSTRAP_CELLS = 4_000_000  # draws held at once
_INTERVAL = (0.025, 0.975)
_TIE = 1e-10  # of the squared norms, a hundred times the rounding of the product below


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Recall and ranks of the true galaxies, with 95% bootstrap intervals over queries.

    ``recall_at_1`` and ``recall_at_10`` are the shares of queries whose own galaxy is nearest, and
    among the ten nearest; rank 1 is nearest. ``_low`` and ``_high`` end the intervals.
    """

    queries: int
    pool: int
    recall_at_1: float
    recall_at_1_low: float
    recall_at_1_high: float
    recall_at_10: float
    recall_at_10_low: float
    recall_at_10_high: float
    mean_reciprocal_rank: float
    mean_reciprocal_rank_low: float
    mean_reciprocal_rank_high: float
    median_rank: float
    median_rank_low: float
    median_rank_high: float

    def as_dict(self) -> dict[str, float]:
        """Return the attributes as a dict."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Retrieval(Recall):
    """Recall, with the median distance of true pairs over that of random pairs.

    ``auc`` is the probability that a random pair is farther apart than a true one.
    """

    distance_ratio: float
    auc: float


def match_ranks(queries: np.ndarray, pool: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """Rank each query's own galaxy among all galaxies of a pool; 1 is nearest.

    `queries` (n, d) and `pool` (m, d) are latents; `own` is each query's row of the pool, by
    default its own row. Ties count against the true galaxy, so a collapsed space scores zero.
    """
    own = np.arange(len(queries)) if own is None else own
    if queries.shape[1:] != pool.shape[1:] or (len(own) and own.max() >= len(pool)):
        raise ValueError(
            f"queries and pool must pair row by row, the pool being as long or longer, but have "
            f"shapes {queries.shape} and {pool.shape}"
        )
    centre = pool.mean(0, dtype=np.float64) if len(pool) else 0.0
    centred = pool - centre
    size = np.square(centred).sum(1)
    ranks = [np.zeros(0, int)]
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        rows = slice(start, start + _QUERIES_AT_ONCE)
        here = queries[rows] - centre
        closeness = here @ centred.T
        closeness -= size / 2  # half of |here|^2 less the squared distance
        true = closeness[np.arange(len(here)), own[rows]]
        slack = _TIE * (np.square(here).sum(1) + size[own[rows]])
        ranks.append((closeness >= (true - slack)[:, None]).sum(1))
    return np.concatenate(ranks)


def recall_of(ranks: np.ndarray, pool: int, seed: int = 0) -> Recall:
    """Summarise (n,) ranks in a pool of some size as recall; `seed` is that of the bootstrap."""
    if not len(ranks):
        raise ValueError("recall needs at least one query but got none")
    scores = np.stack([ranks == 1, ranks <= 10, 1 / ranks, ranks]).astype(np.float64)
    means = [*scores[:3].mean(1), np.median(ranks)]
    low, high = np.quantile(_resampled(scores, seed), _INTERVAL, axis=1)
    names = ("recall_at_1", "recall_at_10", "mean_reciprocal_rank", "median_rank")
    figures = {
        f"{name}{end}": float(value)
        for end, values in (("", means), ("_low", low), ("_high", high))
        for name, value in zip(names, values, strict=True)
    }
    return Recall(queries=len(ranks), pool=pool, **figures)


def contrast(same: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Compare distances of true pairs with those of other pairs.

    Returns the median of `same` over the median of `other`, and the probability that a distance of
    `other` is larger than one of `same`.
    """
    ratio = np.median(same) / max(np.median(other), 1e-12)
    return float(ratio), float(mannwhitneyu(other, same).statistic / len(same) / len(other))


def retrieve(queries: np.ndarray, pool: np.ndarray, seed: int = 0) -> Retrieval:
    """Measure retrieval and distances of latents (n, d) in a pool (m, d).

    The pool holds the same galaxies, row by row, then any others. `seed` is that of the bootstrap
    and of the random pairs.
    """
    if len(pool) < len(queries) or len(queries) < 2:
        raise ValueError(
            f"queries and pool must pair at least two galaxies row by row but have shapes "
            f"{queries.shape} and {pool.shape}"
        )
    recall = recall_of(match_ranks(queries, pool), len(pool), seed)
    n = len(queries)
    others = (np.arange(n) + np.random.default_rng(seed).integers(1, n, n)) % n
    same = np.linalg.norm(queries - pool[:n], axis=1)
    ratio, auc = contrast(same, np.linalg.norm(queries - pool[others], axis=1))
    return Retrieval(**recall.as_dict(), distance_ratio=ratio, auc=auc)  # type: ignore[arg-type]


def _resampled(scores: np.ndarray, seed: int) -> np.ndarray:
    """Means of three scores and medians of the ranks over resampled queries, (4, bootstraps)."""
    rng, n = np.random.default_rng(seed), scores.shape[1]
    at_once = max(_BOOTSTRAP_CELLS // n, 1)
    parts = []
    for start in range(0, _BOOTSTRAPS, at_once):
        chosen = rng.integers(n, size=(min(at_once, _BOOTSTRAPS - start), n))
        means = [score[chosen].mean(1) for score in scores[:3]]
        parts.append(np.stack([*means, np.median(scores[3][chosen], axis=1)]))
    return np.concatenate(parts, axis=1)
