"""Hard distractors: galaxies similar in brightness, size and colour to each query's own.

In a random pool, magnitude alone identifies many galaxies. Among hard distractors only morphology
and surroundings do.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from evaluation.retrieval import contrast

HARD_POOL = 100
"""Size of each query's pool: its own galaxy and 99 hard distractors."""

_QUERIES_AT_ONCE = 500


def matched_distractors(properties: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
    """Find the `k` galaxies most similar to each query's own, (n, k) rows of the pool.

    `properties`, (m, p), are finite properties of the galaxies of the pool, such as r magnitude,
    log half-light radius and g-r; columns are standardised first. `own`, (n,), is each query's own
    row of the pool, which is left out. The most similar comes first; k is less than m.
    """
    if not 0 < k < len(properties):
        raise ValueError(f"k must be from 1 to {len(properties) - 1} (pool less one) but is {k}")
    if not np.isfinite(properties).all():
        raise ValueError("properties must be finite in every row")
    scaled = (properties - properties.mean(0)) / np.maximum(properties.std(0), 1e-12)
    _, nearest = KDTree(scaled).query(scaled[own], k + 1)
    nearest = np.asarray(nearest, dtype=np.intp)
    others = nearest != own[:, None]
    others[others.all(1), -1] = False  # its own galaxy came after equal ones
    return np.asarray(nearest[others]).reshape(len(own), k)


def ranks_among(
    queries: np.ndarray, pool: np.ndarray, own: np.ndarray, distractors: np.ndarray
) -> np.ndarray:
    """Rank each query's own galaxy among its own distractors: 1, nearest, to k + 1.

    `queries` (n, d) and `pool` (m, d) are latents; `own` (n,) and `distractors` (n, k) are rows of
    the pool. Ties count against the true galaxy.
    """
    ranks = [np.zeros(0, int)]
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        rows = slice(start, start + _QUERIES_AT_ONCE)
        here = queries[rows, None]
        true = np.square(here[:, 0] - pool[own[rows]]).sum(1)
        other = np.square(here - pool[distractors[rows]]).sum(2)
        ranks.append(1 + (other <= true[:, None]).sum(1))
    return np.concatenate(ranks)


def distance_contrast(
    queries: np.ndarray, pool: np.ndarray, own: np.ndarray, distractors: np.ndarray, seed: int = 0
) -> dict[str, float]:
    """Compare distances of true pairs with those of random and of hard random pairs.

    Arrays are those of `ranks_among`. Returns ``ratio`` and ``hard_ratio``: median distance of true
    pairs over that of random and of hard pairs; ``auc`` and ``hard_auc``: probability that the
    other pair is farther apart.
    """
    rng, n = np.random.default_rng(seed), len(queries)
    other = (own + rng.integers(1, len(pool), n)) % len(pool)
    hard = distractors[np.arange(n), rng.integers(distractors.shape[1], size=n)]
    same, random, similar = (
        np.linalg.norm(queries - pool[rows], axis=1) for rows in (own, other, hard)
    )
    ratio, auc = contrast(same, random)
    hard_ratio, hard_auc = contrast(same, similar)
    return {"ratio": ratio, "auc": auc, "hard_ratio": hard_ratio, "hard_auc": hard_auc}
