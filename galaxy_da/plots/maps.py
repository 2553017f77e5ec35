"""The latent map: every galaxy at its place in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from galaxy_da.plots.figure import COLOURS, STYLE, Plot, chart
from galaxy_da.plots.galleries import Picture

_CELLS = 12


@rc_context(STYLE)
def latent_map(
    points: np.ndarray,
    *,
    values: np.ndarray | None = None,
    labels: Sequence[str] | None = None,
    pictures: Mapping[int, Picture] | None = None,
    title: str = "",
) -> Plot:
    """Draw the map of an index, coloured by a number or by a class, with some galaxies on it.

    Parameters
    ----------
    points : (n, 2) float array
        Positions, such as `galaxy_da.index.latent_map.LatentMap.points`.
    values : (n,) float array, optional
        Number that colours the points; points where it is not finite are grey.
    labels : sequence of n str, optional
        Class that colours the points, in place of `values`.
    pictures : mapping of int to picture, optional
        Pictures of some points. Where several would overlap, the first is drawn.
    title : str
        Name of what colours the points.

    Raises
    ------
    ValueError
        If both values and labels are given, or their number differs from the points'.
    """
    if values is not None and labels is not None:
        raise ValueError("colour the points by values or by labels, not by both")
    colouring = values if values is not None else labels
    if colouring is not None and len(colouring) != len(points):
        raise ValueError(f"{len(points)} points but {len(colouring)} values; give one for each")
    plot, axes = chart(6.5, 5.5)
    dots: dict[str, Any] = {"s": 9, "linewidths": 0, "alpha": 0.8}
    if labels is not None:
        names = np.array(labels)
        for place, name in enumerate(dict.fromkeys(labels)):
            own = points[names == name]
            axes.scatter(*own.T, color=COLOURS[place % len(COLOURS)], label=name, **dots)
        axes.legend(title=title or None, frameon=False, fontsize=8, markerscale=2)
    elif values is not None:
        numbers = np.asarray(values, float)
        known = np.isfinite(numbers)
        axes.scatter(*points[~known].T, color=COLOURS[-1], **dots)
        low, high = np.percentile(numbers[known], (2, 98)) if known.any() else (0.0, 1.0)
        x, y = points[known].T
        drawn = axes.scatter(x, y, c=numbers[known], vmin=low, vmax=high, **dots)
        plot.colorbar(drawn, label=title, shrink=0.7)
    else:
        axes.scatter(*points.T, color=COLOURS[0], **dots)
        axes.set_title(title)
    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim")
    _place(axes, points, pictures or {})
    return plot


def _place(axes: Axes, points: np.ndarray, pictures: Mapping[int, Picture]) -> None:
    """Draw pictures at their points, one in each cell of a grid."""
    low, high = points.min(0), points.max(0)
    side = float(max(high - low)) / _CELLS or 1.0
    taken = set()
    for row, picture in pictures.items():
        cell = tuple(((points[row] - low) // side).astype(int))
        if picture is None or cell in taken:
            continue
        taken.add(cell)
        x, y = points[row]
        half = 0.42 * side
        axes.imshow(picture, extent=(x - half, x + half, y - half, y + half), zorder=2)
    axes.autoscale()
