"""Curves as SVG polylines on common axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["CURVE", "learning_curves", "polyline", "reliability_curve"]

CURVE = (300.0, 150.0)
"""Width and height of a drawing."""


def polyline(
    x: Sequence[float], y: Sequence[float], x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> str:  # fmt: skip
    """Return the ``points`` of a curve, the origin in the upper left.

    Parameters
    ----------
    x, y : sequence of float
        The curve.
    x_range, y_range : (low, high)
        What the drawing spans; values beyond are moved to its edge.
    """
    scaled = []
    for values, (low, high) in ((x, x_range), (y, y_range)):
        inside = np.clip(np.asarray(values, dtype=float), low, high)
        scaled.append((inside - low) / max(high - low, 1e-12))
    width, height = CURVE
    return " ".join(f"{a * width:.1f},{(1 - b) * height:.1f}" for a, b in zip(*scaled, strict=True))


def reliability_curve(curve: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Draw stated against observed shares."""
    whole = (0.0, 1.0)
    return {
        "points": polyline(curve["stated"], curve["observed"], whole, whole),
        "dots": [
            tuple(point.split(","))
            for point in polyline(curve["stated"], curve["observed"], whole, whole).split()
        ],
        "diagonal": polyline(whole, whole, whole, whole),
    }


def learning_curves(rows: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """Draw each logged term over steps, each on its own scale from zero to its highest value."""
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
