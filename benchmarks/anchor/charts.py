"""Coordinates and colours of the SVG drawings of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["CLASS_COLOURS", "class_dots", "curve", "dots", "histogram", "shade"]

# Dark to bright in even steps, distinguishable without colour vision; as (red, green, blue).
_SCALE = np.array(
    [
        (28, 30, 58),
        (62, 54, 120),
        (118, 64, 142),
        (180, 76, 128),
        (230, 110, 96),
        (250, 170, 96),
        (252, 232, 160),
    ]
)
_BINS = 12

CLASS_COLOURS = ("#4e9bd1", "#e58a3c", "#5cae75", "#c46cb8", "#d7b740", "#8d9099", "#d3605e")


def shade(share: np.ndarray) -> np.ndarray:
    """Map (...) values from 0 to 1 to (..., 3) uint8 colours."""
    stops = np.linspace(0, 1, len(_SCALE))
    planes = [np.interp(share, stops, _SCALE[:, k]) for k in range(3)]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def dots(x: np.ndarray, y: np.ndarray, value: np.ndarray, size: float) -> dict[str, Any]:
    """Draw points on a square, coloured by a value, as one SVG path for each colour.

    Parameters
    ----------
    x, y : (n,) float arrays
        Coordinates from 0 to 1, the origin in the lower left; others are drawn at the edge.
    value : (n,) float array
        Value of each point; colours span its 2nd to 98th percentile, NaN is left out.
    size : float
        Side of the square [SVG units].

    Returns
    -------
    dict
        ``paths``, of (colour, ``d``), and ``low`` and ``high``, the ends of the colours.
    """
    fine = np.isfinite(value)
    low, high = np.percentile(value[fine], (2, 98)) if fine.any() else (0.0, 1.0)
    share = np.clip((value - low) / max(high - low, 1e-12), 0, 1)
    level = np.where(fine, np.minimum(np.nan_to_num(share) * _BINS, _BINS - 1), -1).astype(int)
    levels = 0.12 + 0.88 * np.arange(_BINS) / (_BINS - 1)  # the darkest is for empty sky
    names = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in shade(levels)]
    paths = [(names[k], _path(x, y, level == k, size)) for k in range(_BINS) if (level == k).any()]
    return {"paths": paths, "low": float(low), "high": float(high), "classes": ()}


def class_dots(
    x: np.ndarray, y: np.ndarray, answers: np.ndarray, names: Sequence[str], size: float
) -> dict[str, Any]:
    """Draw points on a square, coloured by their class.

    Parameters
    ----------
    x, y, size
        As for `dots`.
    answers : (n,) object array
        Class of each point; classes that are not in `names` are left out.
    names : sequence of str
        Classes, at most as many as `CLASS_COLOURS`.

    Returns
    -------
    dict
        ``paths``, of (colour, ``d``), and ``classes``, of (colour, name).
    """
    colours = list(zip(CLASS_COLOURS, names, strict=False))
    paths = [(colour, _path(x, y, answers == name, size)) for colour, name in colours]
    return {"paths": paths, "classes": colours}


def curve(
    x: np.ndarray,
    y: np.ndarray,
    x_ends: tuple[float, float],
    y_ends: tuple[float, float],
    width: float,
    height: float,
) -> list[tuple[float, float]]:
    """Scale points to a chart with the given axes; the origin is the upper left corner."""
    across = (np.asarray(x) - x_ends[0]) / max(x_ends[1] - x_ends[0], 1e-12) * width
    down = height - (np.asarray(y) - y_ends[0]) / max(y_ends[1] - y_ends[0], 1e-12) * height
    return list(zip(across.tolist(), down.tolist(), strict=True))


def _path(x: np.ndarray, y: np.ndarray, rows: np.ndarray, size: float) -> str:
    """Draw points as strokes of zero length, which round caps make visible."""
    across, down = np.clip(x[rows], 0, 1) * size, (1 - np.clip(y[rows], 0, 1)) * size
    return "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(across, down, strict=True))


def histogram(values: np.ndarray, edges: np.ndarray, side: float) -> str:
    """Draw a histogram as the ``points`` of a polygon on the lower edge of a square."""
    counts = np.histogram(values, edges)[0]
    x = np.repeat(np.linspace(0, side, len(edges)), 2)
    tops = np.pad(np.repeat(counts / max(counts.max(), 1), 2), 1)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, side * (1 - tops), strict=True))
