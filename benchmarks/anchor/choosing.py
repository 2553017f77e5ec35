"""Choose galaxies to show: bright ones that differ from each other."""

from __future__ import annotations

import numpy as np

__all__ = ["brighter", "diverse", "typical"]


def brighter(brightness: np.ndarray, share: float) -> np.ndarray:
    """Return the rows of the brightest share, brightest first; at least 12 or all."""
    count = max(int(len(brightness) * share), min(12, len(brightness)))
    return np.argsort(-brightness, kind="stable")[:count]


def diverse(points: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Choose rows one by one, each farthest from those before; the first is the most typical.

    Parameters
    ----------
    points : (n, d) float array
        Positions of the galaxies.
    rows : (m,) int array
        Rows to choose from.
    count : int
        Largest number of rows to choose.

    References
    ----------
    Gonzalez 1985, Theor. Comput. Sci. 38, 293.
    """
    candidates = points[rows]
    chosen = [int(np.linalg.norm(candidates - np.median(candidates, 0), axis=1).argmin())]
    nearest = np.linalg.norm(candidates - candidates[chosen[0]], axis=1)
    while len(chosen) < min(count, len(rows)):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(candidates - candidates[chosen[-1]], axis=1))
    return np.asarray(rows[chosen])


def typical(points: np.ndarray, rows: np.ndarray) -> int:
    """Return the row nearest to the median of some rows."""
    return int(diverse(points, rows, 1)[0])
