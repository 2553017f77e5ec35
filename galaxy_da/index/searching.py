"""Nearest-neighbour search over the segments of an index.

Each segment returns candidates, as `galaxy_da.index.kinds` describes. Their distances are then
computed from the exact vectors, so that near-duplicates are ordered correctly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from galaxy_da.index.gathering import Vectors
from galaxy_da.index.layout import Layout
from galaxy_da.index.segments import Segment
from galaxy_da.index.selections import Selection
from galaxy_da.index.sources import usable

__all__ = ["Searcher"]

_BATCH_VALUES = 1 << 22
"""Floats gathered at once while distances are computed."""


class Searcher:
    """Search over the living rows of segments."""

    def __init__(self, layout: Layout, segments: Sequence[Segment], vectors: Vectors) -> None:
        self._layout = layout
        self._segments = segments
        self._vectors = vectors

    def nearest(
        self, vectors: np.ndarray, k: int, selection: Selection, *, exact: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return distances and row numbers of the nearest rows; see `StoredIndex.search`."""
        points = self._checked(vectors)
        k = min(k, len(selection))
        step = max(1, _BATCH_VALUES // (k * points.shape[1]))
        parts = [
            self._nearest(points[first : first + step], k, selection, exact)
            for first in range(0, max(len(points), 1), step)
        ]
        if len(parts) == 1:
            return parts[0]
        distances, rows = zip(*parts, strict=True)
        return np.concatenate(distances), np.concatenate(rows)

    def _checked(self, vectors: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            points = np.ascontiguousarray(vectors, dtype=np.float32)
        dimension = self._vectors.shape[1]
        if points.ndim != 2 or points.shape[1] != dimension:
            raise ValueError(
                f"vectors must have shape (n, {dimension}) but have {points.shape}; do they come "
                "from the space of this index?"
            )
        if not usable(points).all():
            raise ValueError("vectors must be finite")
        return points

    def _nearest(
        self, points: np.ndarray, k: int, selection: Selection, exact: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        candidates = [
            self._layout.numbers(number, segment.candidates(points, k, allowed, exact=exact))
            for number, (segment, allowed) in enumerate(
                zip(self._segments, selection.allowed, strict=True)
            )
            if allowed.count
        ]
        rows = candidates[0] if len(candidates) == 1 else np.concatenate(candidates, axis=1)
        distances = np.linalg.norm(self._vectors[rows] - points[:, None], axis=-1)  # (n, k)
        distances[rows < 0] = np.inf
        order = np.lexsort((rows, distances))[:, :k]
        each = np.arange(len(rows))[:, None]
        return distances[each, order], rows[each, order]
