"""A figure that shows itself in notebooks, and the style that all plots share."""

from __future__ import annotations

import io
import re
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, QUIET, SKY = "#1d1f24", "#8a909b", "#232323"
ACCENT, MARK = "#3a6ea8", "#e0a526"
COLOURS = (ACCENT, "#c9952b", "#5a9a6e", "#a8483a", "#7b5ea7", "#3f9aa6", QUIET)
"""Colours of categories, in order."""

_DPI = 100
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.titlesize": 10,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",
}
"""Settings of matplotlib under which a plot is made, and saved."""

_WHOLE_WIDTH = ' role="img" aria-label="{}" style="width:100%;height:auto" '


class Plot(Figure):
    """A matplotlib figure outside pyplot: it holds no global state and is drawn once.

    Notebooks show it as PNG, or as JPEG, which is smaller, if it is of photographs.
    """

    def __init__(self, width: float, height: float, *, photographs: bool = False) -> None:
        super().__init__(figsize=(width, height), dpi=_DPI, layout="constrained")
        self._photographs = photographs

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save the figure, as `matplotlib.figure.Figure.savefig`."""
        with rc_context(STYLE):
            super().savefig(*args, **kwargs)

    def _repr_png_(self) -> bytes | None:
        return None if self._photographs else self._encoded("png")

    def _repr_jpeg_(self) -> bytes | None:
        return self._encoded("jpeg") if self._photographs else None

    def _encoded(self, kind: str) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format=kind)
        return out.getvalue()


def chart(width: float = 5.0, height: float = 3.2) -> tuple[Plot, Axes]:
    """Return a plot with one pair of axes [inch], without upper and right spines."""
    plot = Plot(width, height)
    axes = plot.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return plot, axes


def to_svg(plot: Plot, label: str) -> str:
    """Return a plot as an ``<svg>`` element for an HTML page, with a label for screen readers.

    Text and axes take the colour of the page, and the background is transparent. Labels that
    differ keep the ids of several plots apart.
    """
    out = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": label}):
        plot.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    element = out.getvalue()
    element = element[element.index("<svg") :]
    element = re.sub(r"<(metadata|style)\b.*?</\1>", "", element, flags=re.DOTALL)
    linked = set(re.findall(r'(?:href="|url\()#([^")]+)', element))
    element = re.sub(
        r' id="([^"]*)"', lambda found: found[0] if found[1] in linked else "", element
    )
    escaped = label.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    element = element.replace("<svg ", "<svg" + _WHOLE_WIDTH.format(escaped), 1)
    return element.replace(INK, "currentColor")
