"""Whitened coordinates and nearest neighbours."""

from __future__ import annotations

import math
from typing import Any

import faiss
import numpy as np

from galaxy_da.queries.rows import BATCH, without_self

_LEAST_VARIANCE = 0.03
"""Floor added to the variance of each direction, over the mean variance of all directions."""
_EXACT_ROWS = 30_000
_PROBES = 24
_TRAINED_BY = 64  # points for each cell of the inverted file


def whitened(points: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """Rotate and scale (n, d) points so that the covariance of a reference is near the identity.

    The reference is by default the points themselves. Directions of small variance are scaled by
    less than the inverse of their spread.
    """
    reference = np.asarray(points if reference is None else reference, dtype=np.float64)
    covariance = np.atleast_2d(np.cov(reference.T))
    variance, directions = np.linalg.eigh(covariance)
    floor = max(_LEAST_VARIANCE * variance.mean(), np.finfo(np.float32).tiny)
    scale = np.sqrt(np.maximum(variance, 0) + floor)
    centred = points - reference.mean(axis=0)
    return np.asarray(centred @ (directions / scale), dtype=np.float32)


def nearest_others(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and rows of each point's nearest others, (n, min(count, n - 1)) each.

    Up to 30,000 points the search is exact; beyond, it uses an inverted file (FAISS), which finds
    nearly all.
    """
    n = len(points)
    points = np.ascontiguousarray(points, dtype=np.float32)
    search = _searcher(points)
    distances = np.empty((n, min(count, n - 1)), np.float32)
    rows = np.empty(distances.shape, np.int64)
    for low in range(0, n, BATCH):
        own = np.arange(low, min(low + BATCH, n))
        _, near = search.search(points[own], distances.shape[1] + 1)
        distance = np.linalg.norm(points[near] - points[own][:, None], axis=-1)
        distance[near < 0] = np.inf
        order = np.argsort(distance, axis=1, kind="stable")
        distance, near = (np.take_along_axis(values, order, 1) for values in (distance, near))
        distances[own], rows[own] = without_self(own, distance, near)
    return distances, rows


def _searcher(points: np.ndarray) -> Any:
    n, dimension = points.shape
    if n <= _EXACT_ROWS:
        search: Any = faiss.IndexFlatL2(dimension)
    else:
        search = faiss.index_factory(dimension, f"IVF{4 * math.isqrt(n)},Flat")
        search.nprobe, search.cp.max_points_per_centroid = _PROBES, _TRAINED_BY
        search.train(points)
    search.add(points)
    return search
