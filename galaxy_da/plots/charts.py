"""Charts of measurements: distances, recall, reliability, learning curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from matplotlib import rc_context

from galaxy_da.plots.figure import ACCENT, COLOURS, INK, MARK, QUIET, STYLE, Plot, chart

_BINS = 60
_MAGNITUDE_BINS, _FEWEST = 8, 5


@rc_context(STYLE)
def distance_against_magnitude(
    magnitude: np.ndarray, distance: np.ndarray, random: np.ndarray | None = None
) -> Plot:
    """Draw latent distances of pairs against magnitude, with their running median.

    Parameters
    ----------
    magnitude : (n,) float array
        Magnitude of each pair [mag]; pairs where it or the distance is not finite are left out.
    distance : (n,) float array
        Latent distance of each pair's two images.
    random : (m,) float array, optional
        Latent distances of random pairs, drawn as their median and their 5th percentile.

    Raises
    ------
    ValueError
        If no pair has both values.
    """
    known = np.isfinite(magnitude) & np.isfinite(distance)
    if not known.any():
        raise ValueError(f"none of the {len(known)} pairs has a magnitude and a distance")
    magnitude, distance = np.asarray(magnitude)[known], np.asarray(distance)[known]
    plot, axes = chart()
    axes.scatter(magnitude, distance, s=6, color=QUIET, alpha=0.5, linewidths=0, label="a pair")
    edges = np.linspace(magnitude.min(), magnitude.max(), _MAGNITUDE_BINS + 1)
    place = np.clip(np.digitize(magnitude, edges) - 1, 0, _MAGNITUDE_BINS - 1)
    filled = [i for i in range(_MAGNITUDE_BINS) if (place == i).sum() >= _FEWEST]
    if filled:
        shares = np.array([np.percentile(distance[place == i], (16, 50, 84)) for i in filled])
        centre = [(edges[i] + edges[i + 1]) / 2 for i in filled]
        axes.fill_between(centre, shares[:, 0], shares[:, 2], color=ACCENT, alpha=0.25, lw=0)
        axes.plot(centre, shares[:, 1], color=ACCENT, marker="o", ms=4, label="median and 68%")
    if random is not None:
        axes.axhline(float(np.median(random)), color=INK, lw=1, label="random pairs: median")
        axes.axhline(float(np.percentile(random, 5)), color=INK, lw=1, ls=":", label="and 5%")
    axes.set(xlabel="magnitude [mag]", ylabel="latent distance", ylim=(0, None))
    axes.legend(frameon=False, fontsize=7, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return plot


@rc_context(STYLE)
def distance_histogram(
    same: np.ndarray, random: np.ndarray, similar: np.ndarray | None = None
) -> Plot:
    """Draw histograms of equal area of the latent distances of pairs.

    Parameters
    ----------
    same : (n,) float array
        Distances of two images of the same galaxy.
    random : (m,) float array
        Distances of images of two random galaxies.
    similar : (k,) float array, optional
        Distances of images of two galaxies of similar brightness, size and colour.
    """
    top = max(float(np.quantile(random, 0.97)), float(np.quantile(same, 0.95)), 1e-12)
    edges = np.linspace(0, top, _BINS + 1)
    plot, axes = chart(height=2.4)
    shares = {name: np.histogram(values, edges)[0] / len(values)
              for name, values in (("random", random), ("same", same))}  # fmt: skip
    axes.stairs(shares["random"], edges, fill=True, color=QUIET, alpha=0.6, label="random pairs")
    if similar is not None:
        share = np.histogram(similar, edges)[0] / len(similar)
        axes.stairs(share, edges, color=MARK, lw=1.5, label="similar galaxies")
    axes.stairs(shares["same"], edges, fill=True, color=ACCENT, alpha=0.75, label="same galaxy")
    axes.set(xlabel="latent distance", yticks=[], xlim=(0, top))
    axes.spines["left"].set_visible(False)
    axes.legend(frameon=False, fontsize=7)
    return plot


@rc_context(STYLE)
def reliability(stated: Sequence[float], observed: Sequence[float], title: str = "") -> Plot:
    """Draw the observed share of events against the stated probability.

    Points on the diagonal are calibrated.
    """
    plot, axes = chart(3.2, 3.2)
    axes.plot((0, 1), (0, 1), color=QUIET, ls="--", lw=1)
    axes.plot(stated, observed, color=ACCENT, marker="o", ms=4)
    axes.set(xlabel="stated probability", ylabel="observed share", title=title, aspect="equal",
             xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))  # fmt: skip
    return plot


@rc_context(STYLE)
def recall(table: pa.Table, measure: str = "recall@1") -> Plot:
    """Draw recall with its intervals, a group of lines for each survey.

    Parameters
    ----------
    table : pa.Table
        ``survey``, ``encoder``, a column of recalls, and the ends ``low`` and ``high`` of its
        interval, as `evaluation.reports.figures.recall_table` returns them.
    measure : str
        Name of the column of recalls.
    """
    rows = table.to_pylist()
    plot, axes = chart(5.0, 0.7 + 0.26 * len(rows))
    kinds = list(dict.fromkeys(_kind(row["encoder"]) for row in rows))
    for place, row in enumerate(rows):
        colour = COLOURS[kinds.index(_kind(row["encoder"])) % len(COLOURS)]
        axes.plot((row["low"], row["high"]), (place, place), color=colour, lw=2)
        axes.plot(row[measure], place, color=colour, marker="o", ms=5)
        axes.text(1.02, place, f"{row[measure]:.2f}", va="center", fontsize=8,
                  transform=axes.get_yaxis_transform())  # fmt: skip
    names = [f"{row['survey']}: {row['encoder']}" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.set(xlabel=measure, xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
    axes.grid(axis="x", color=QUIET, alpha=0.3, lw=0.5)
    return plot


@rc_context(STYLE)
def learning_curve(steps: Sequence[float], values: Sequence[float], name: str) -> Plot:
    """Draw one logged term over the steps of a training."""
    plot, axes = chart(2.6, 1.7)
    axes.plot(steps, values, color=ACCENT, lw=1.5)
    axes.set(xlabel="step", title=name, ylim=(min(0.0, *values), None))
    return plot


def _kind(encoder: str) -> str:
    """Return the name of an encoder without its bracketed part."""
    return encoder.partition(" (")[0]
