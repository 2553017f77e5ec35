"""Same galaxy, another survey: whether it is found again, and how close it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu

__all__ = ["Retrieval", "match_ranks", "retrieve"]

_QUERIES_AT_ONCE = 1000
_BOOTSTRAPS = 1000


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """How well queries find their own galaxy in a pool.

    Attributes
    ----------
    pool : int
        Galaxies to choose from.
    recall_at_1, recall_at_10 : float
        Share of queries whose galaxy is nearest, and among the ten nearest.
    recall_at_1_low, recall_at_1_high : float
        95% bootstrap interval over queries.
    mean_reciprocal_rank, median_rank : float
        Of the true galaxy; rank 1 is nearest.
    distance_ratio : float
        Median distance of true pairs over median distance of random pairs.
    auc : float
        Probability that a random pair is farther apart than a true one.
    """

    pool: int
    recall_at_1: float
    recall_at_1_low: float
    recall_at_1_high: float
    recall_at_10: float
    mean_reciprocal_rank: float
    median_rank: float
    distance_ratio: float
    auc: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


def match_ranks(queries: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Rank of each query's own galaxy among all.

    Parameters
    ----------
    queries, pool : (n, d) float arrays
        Latents of the same galaxies, row by row.

    Returns
    -------
    (n,) int array
        1 is nearest. Ties count against the true galaxy, so a collapsed space scores as it should.
    """
    ranks = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        distances = cdist(queries[start : start + _QUERIES_AT_ONCE], pool)
        own = distances[np.arange(len(distances)), start + np.arange(len(distances))]
        ranks.append((distances <= own[:, None]).sum(1))
    return np.concatenate([np.zeros(0, int), *ranks])


def retrieve(queries: np.ndarray, pool: np.ndarray, seed: int = 0) -> Retrieval:
    """Measure retrieval and distances of paired latents.

    Parameters
    ----------
    queries, pool : (n, d) float arrays
        Latents of the same galaxies, row by row, in two surveys or observations.
    seed : int
        Of the bootstrap and of the random pairs.

    Raises
    ------
    ValueError
        If shapes differ or there are fewer than two galaxies.
    """
    if queries.shape != pool.shape or len(queries) < 2:
        raise ValueError(
            f"queries and pool must pair at least two galaxies row by row but have shapes "
            f"{queries.shape} and {pool.shape}"
        )
    rng = np.random.default_rng(seed)
    ranks = match_ranks(queries, pool)
    n = len(ranks)
    hits = ranks == 1
    draws = rng.binomial(n, hits.mean(), _BOOTSTRAPS) / n
    low, high = np.quantile(draws, [0.025, 0.975])
    same = np.linalg.norm(queries - pool, axis=1)
    other = (np.arange(n) + rng.integers(1, n, n)) % n
    random = np.linalg.norm(queries - pool[other], axis=1)
    above = mannwhitneyu(random, same).statistic / n**2
    return Retrieval(
        pool=n,
        recall_at_1=float(hits.mean()),
        recall_at_1_low=float(low),
        recall_at_1_high=float(high),
        recall_at_10=float((ranks <= 10).mean()),
        mean_reciprocal_rank=float((1 / ranks).mean()),
        median_rank=float(np.median(ranks)),
        distance_ratio=float(np.median(same) / max(np.median(random), 1e-12)),
        auc=float(above),
    )
