"""Curves and histograms as points of SVG polylines and polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["CURVE", "histogram", "learning_curves", "polyline", "reliability_curve"]

CURVE = (300.0, 150.0)
"""Width and height of a curve's drawing."""


def polyline(
    x: Sequence[float],
    y: Sequence[float],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> str:
    """Return the ``points`` of a curve; the origin is the upper left corner.

    Values beyond the ranges, (low, high), of the axes are moved to the edge.
    """
    scaled = []
    for values, (low, high) in ((x, x_range), (y, y_range)):
        inside = np.clip(np.asarray(values, dtype=float), low, high)
        scaled.append((inside - low) / max(high - low, 1e-12))
    width, height = CURVE
    return " ".join(f"{a * width:.1f},{(1 - b) * height:.1f}" for a, b in zip(*scaled, strict=True))


def histogram(
    samples: Sequence[np.ndarray], edges: np.ndarray, width: float, height: float
) -> list[str]:
    """Draw histograms on common axes, each as the ``points`` of a polygon on the lower edge.

    All histograms have the same area, and the highest bin of all reaches the upper edge. Values
    beyond the `edges` of equal bins are not drawn. The origin is the upper left corner.
    """
    shares = np.stack([np.histogram(values, edges)[0] / len(values) for values in samples])
    x = np.repeat(np.linspace(0, width, len(edges)), 2)
    tops = np.pad(np.repeat(shares / max(shares.max(), 1e-12), 2, axis=1), ((0, 0), (1, 1)))
    return [
        " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, height * (1 - top), strict=True))
        for top in tops
    ]


def reliability_curve(curve: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Draw observed shares over stated probabilities."""
    whole = (0.0, 1.0)
    points = polyline(curve["stated"], curve["observed"], whole, whole)
    return {
        "points": points,
        "dots": [tuple(point.split(",")) for point in points.split()],
        "diagonal": polyline(whole, whole, whole, whole),
    }


def learning_curves(rows: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """Draw each logged term over steps, scaled from zero to its own highest value."""
    steps = [row["step"] for row in rows]
    drawn = []
    for name in rows[0]:
        if name == "step":
            continue
        values = [row[name] for row in rows]
        top = max(*values, 1e-12)
        drawn.append(
            {
                "name": name.replace("_", " "),
                "points": polyline(steps, values, (0.0, steps[-1]), (0.0, top)),
                "first": values[0],
                "last": values[-1],
                "steps": int(steps[-1]),
            }
        )
    return drawn
