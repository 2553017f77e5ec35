"""Which galaxies a page shows: bright enough to see, and unlike each other."""

from __future__ import annotations

import numpy as np

__all__ = ["brighter", "diverse", "evenly", "typical"]


def brighter(brightness: np.ndarray, share: float) -> np.ndarray:
    """Rows of the brighter part, brightest first; at least 12 or all."""
    count = max(int(len(brightness) * share), min(12, len(brightness)))
    return np.argsort(-brightness, kind="stable")[:count]


def diverse(points: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Choose rows one by one, each the farthest from those before; the first is the most typical.

    Parameters
    ----------
    points : (n, d) float array
        Where galaxies lie.
    rows : (m,) int array
        Among which.
    count : int
        How many; fewer where there are not so many.

    References
    ----------
    Gonzalez 1985, Theor. Comput. Sci. 38, 293.
    """
    some = points[rows]
    chosen = [int(np.linalg.norm(some - np.median(some, 0), axis=1).argmin())]
    nearest = np.linalg.norm(some - some[chosen[0]], axis=1)
    while len(chosen) < min(count, len(rows)):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(some - some[chosen[-1]], axis=1))
    return np.asarray(rows[chosen])


def evenly(order: np.ndarray, count: int) -> np.ndarray:
    """Take at most `count` of an ordered array, in equal steps from first to last."""
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return np.asarray(order[places.round().astype(int)])


def typical(points: np.ndarray, rows: np.ndarray) -> int:
    """Return the one of some rows that lies nearest to their median."""
    return int(diverse(points, rows, 1)[0])
