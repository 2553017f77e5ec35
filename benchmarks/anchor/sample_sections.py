"""Sections on all galaxies at once: maps, densities, predictions, outliers, rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.anchor.charts import CLASS_COLOURS, class_dots, curve, dots, histogram
from benchmarks.anchor.context import PageContext, Picture
from benchmarks.anchor.forests import Answer, answer
from benchmarks.anchor.maps import density, fit_map, principal_components
from benchmarks.anchor.mosaics import colours, heat
from benchmarks.anchor.outliers import mahalanobis_distance, neighbour_distance
from benchmarks.anchor.questions import Question
from benchmarks.anchor.rates import Rate, pca_rates, rate
from benchmarks.anchor.sampling import draw_latents
from benchmarks.measures.image_quality import mse_and_psnr, value_range
from benchmarks.measures.reconstruction import EncodedSample
from evaluation.reports.picture_sections import evenly
from galaxy_da.models.latents import join_latents

__all__ = ["PLOT", "densities", "galaxy_map", "outliers", "pair_plot", "predictions", "rate_curve"]

PLOT = 200.0
"""Side of a square chart [SVG units]."""

_CHART = (320.0, 180.0)
_LABEL = 18.0  # width of a label with its margin
_PER_CELL, _CELLS = 3.0, (6, 16)
_COMPONENTS, _DENSITIES, _BINS, _EDGE = 4, 4, 36, 3.5
_OUTLIERS = 12
_COMPARED, _DRAWN = 8, 8
_SKY = (35, 35, 35)  # colour of the sky in pictures


def galaxy_map(context: PageContext, questions: Sequence[Question]) -> dict[str, Any]:
    """Map galaxies by UMAP: observed images and decoded points on a grid, coloured dots."""
    e = context.encoded
    side = int(np.clip(np.sqrt(len(e) / _PER_CELL), *_CELLS))
    flat = fit_map(e.galaxy, side, context.seed)
    at = flat.nearest.ravel()
    full = at >= 0
    points = join_latents(flat.latents.reshape(side * side, -1)[full], e.nuisance[at[full]])
    grids = []
    for pictures in (context.observed_pictures[at[full]], context.decoded(points)):
        zoomed = context.zoomed(pictures)
        grid = np.full((side * side, *zoomed.shape[1:]), _SKY, np.uint8)
        grid[full] = zoomed
        grids.append(grid)
    x, y = ((flat.points - flat.points.min(0)) / np.ptp(flat.points, axis=0)).T
    return {
        "observed": context.sheet(
            grids[0], side, "Galaxies at the points of a grid over UMAP", gap=0
        ),
        "decoded": context.sheet(
            grids[1], side, "The same grid points decoded by way of inverse UMAP", gap=0
        ),
        "coloured": _coloured(context, questions, x, y),
    }


def densities(context: PageContext) -> list[dict[str, Any]]:
    """Count galaxies over pairs of the most used latents, separately for each kind of latents."""
    e, cut = context.encoded, context.encoded.space.galaxy_latents
    order = np.argsort(-context.kl, kind="stable")
    charts = []
    for kind, own in (("galaxy", order[order < cut]), ("nuisance", order[order >= cut])):
        for a, b in zip(own[0 : 2 * _DENSITIES : 2], own[1 : 2 * _DENSITIES : 2], strict=False):
            counts = density(e.mean[:, a], e.mean[:, b], _EDGE, _BINS)
            charts.append({"kind": kind, "x": int(a), "y": int(b), "uri": heat(counts)})
    return charts


def pair_plot(context: PageContext) -> dict[str, Any]:
    """Plot principal components of the galaxy latents against each other, by magnitude."""
    points, share = principal_components(context.encoded.galaxy, _COMPONENTS)
    edge = np.abs(points).max() * 1.02
    unit = points / (2 * edge) + 0.5
    edges = np.linspace(0, 1, 41)
    n = unit.shape[1]
    cells = [
        [
            {"histogram": histogram(unit[:, row], edges, PLOT)}
            if row == column
            else {"dots": dots(unit[:, column], unit[:, row], -context.magnitude, PLOT)}
            for column in range(row + 1)
        ]
        for row in range(n)
    ]
    return {"cells": cells, "share": share.tolist()}


def predictions(
    context: PageContext, questions: Sequence[Question], groups: np.ndarray
) -> list[Answer]:
    """Predict labels from galaxy and from nuisance latents, if enough galaxies have the label."""
    e = context.encoded
    sets = {"galaxy": e.galaxy, "nuisance": e.nuisance}
    answers = [answer(question, sets, groups, context.seed) for question in questions]
    return [found for found in answers if found is not None]


def outliers(context: PageContext) -> list[tuple[str, list[Picture]]]:
    """Show galaxies with the highest outlier scores or errors, and the lowest for comparison."""
    e = context.encoded
    neighbour, mahalanobis = neighbour_distance(e.galaxy), mahalanobis_distance(e.galaxy)
    mse, _ = mse_and_psnr(e.images, e.decoded, value_range(e.images))
    rankings = (
        ("Farthest from their ten nearest neighbours", neighbour, "{:.2f} away"),
        ("Farthest from the mean (Mahalanobis)", mahalanobis, "{:.1f} σ out"),
        ("Largest reconstruction error", mse, "MSE {:.3f}"),
        ("For comparison: closest to their neighbours", -neighbour, "{:.2f} away"),
    )
    return [
        (
            title,
            [
                context.observed(row, f"{text.format(abs(score[row]))} · {e.ids[row]}")
                for row in np.argsort(-score, kind="stable")[:_OUTLIERS]
            ],
        )
        for title, score, text in rankings
    ]


def rate_curve(
    context: PageContext, name: str, others: Mapping[str, EncodedSample]
) -> dict[str, Any]:
    """Compare spaces of several sizes: rate, distortion, decoded and drawn galaxies."""
    spaces = {name: context.encoded, **others}
    span = value_range(context.encoded.images)
    rates = sorted(
        (rate(title, encoded, span) for title, encoded in spaces.items()), key=lambda r: r.latents
    )
    components = pca_rates(context.encoded.images, sorted({r.latents for r in rates}), span)
    rows = evenly(context.bright, _COMPARED)
    return {
        "rates": rates,
        "pca": components,
        "charts": _rate_charts(rates, components),
        "observed": context.sheet(
            context.observed_pictures[rows], _COMPARED, "Galaxies as observed"
        ),
        "drawn": [
            {
                "rate": r,
                "decoded": context.sheet(
                    colours(spaces[r.name].space, spaces[r.name].decoded[rows]),
                    _COMPARED,
                    f"The same galaxies decoded by {r.name}",
                ),
                "samples": context.sheet(
                    _drawn(spaces[r.name], context.seed), _DRAWN, f"Draws from {r.name}"
                ),
            }
            for r in rates
        ],
    }


def _coloured(
    context: PageContext, questions: Sequence[Question], x: np.ndarray, y: np.ndarray
) -> list[tuple[str, dict[str, Any]]]:
    """Draw points coloured by measured values, and by the first label with classes."""
    bands = context.encoded.space.frame.bands
    values = {f"{bands[context.middle]} magnitude within 5″": -context.magnitude}
    if len(bands) > 1:
        values[f"{bands[0]} − {bands[-1]} [mag]"] = context.colour
    values["distance to ten nearest"] = neighbour_distance(context.encoded.galaxy)
    drawn = [(title, dots(x, y, value, PLOT)) for title, value in values.items()]
    labelled = [(q.name, q.classes) for q in questions if q.classes is not None]
    for name, classes in labelled[:1]:
        counts = Counter(answer for answer in classes.tolist() if answer is not None)
        common = [answer for answer, _ in counts.most_common(len(CLASS_COLOURS))]
        drawn.append((name, class_dots(x, y, classes, common, PLOT)))
    return drawn


def _rate_charts(rates: Sequence[Rate], components: Sequence[Rate]) -> list[dict[str, Any]]:
    """Draw distortion over latents and over rate, as points of SVG polylines."""
    every = [*rates, *components]
    low, high = min(r.psnr for r in every), max(r.psnr for r in every)
    margin = 0.1 * max(high - low, 0.1)
    ends = (low - margin, high + margin)
    charts = []
    for title, lines in (
        ("PSNR [dB] over latents", [("spaces", rates, "latents"), ("pca", components, "latents")]),
        (
            "PSNR [dB] over rate [bits per galaxy]",
            [("spaces", sorted(rates, key=lambda r: r.bits), "bits")],
        ),
    ):
        across = [getattr(r, key) for _, line, key in lines for r in line]
        margin = 0.08 * max(max(across) - min(across), 1)
        x_ends = (max(min(across) - margin, 0), max(across) + margin)
        charts.append(
            {
                "title": title,
                "size": _CHART,
                "ends": (x_ends, ends),
                "lines": [(kind, _labelled(line, key, x_ends, ends)) for kind, line, key in lines],
            }
        )
    return charts


def _labelled(
    line: Sequence[Rate], key: str, x_ends: tuple[float, float], y_ends: tuple[float, float]
) -> list[tuple[tuple[float, float], str]]:
    """Return the points of a line with labels, empty where one would cover the last."""
    across = [getattr(r, key) for r in line]
    points = curve(np.array(across), np.array([r.psnr for r in line]), x_ends, y_ends, *_CHART)
    labelled, last = [], -np.inf
    for point, value in zip(points, across, strict=True):
        clear = point[0] - last >= _LABEL
        labelled.append((point, f"{value:.0f}" if clear else ""))
        last = point[0] if clear else last
    return labelled


def _drawn(encoded: EncodedSample, seed: int) -> np.ndarray:
    points = draw_latents(encoded.mean, _DRAWN, seed)["gaussian"]
    return colours(encoded.space, encoded.space.decode(points))
