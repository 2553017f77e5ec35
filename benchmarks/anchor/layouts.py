"""Sections that look at all galaxies at once: use of latents, maps, forests, outliers, rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.anchor.charts import CLASS_COLOURS, class_dots, curve, dots
from benchmarks.anchor.choosing import evenly
from benchmarks.anchor.draws import draw
from benchmarks.anchor.forests import Answer, answer
from benchmarks.anchor.maps import density, flatten, principal
from benchmarks.anchor.mosaics import colours, heat
from benchmarks.anchor.outliers import isolation, remoteness
from benchmarks.anchor.questions import Question
from benchmarks.anchor.rates import Rate, pca_rates, rate
from benchmarks.anchor.stage import Picture, Stage
from benchmarks.measures.image_quality import mse_and_psnr, value_range
from benchmarks.measures.reconstruction import EncodedSample
from evaluation.reports.drawings import histogram
from galaxy_da.models.latents import join_latents

__all__ = ["PLOT", "asked", "densities", "galaxy_map", "outliers", "pair_plot", "rate_curve"]

PLOT = 200.0
"""Side of a square chart [SVG units]."""

_CHART = (320.0, 180.0)
_LABEL = 18.0  # wide, with some room
_PER_CELL, _CELLS = 3.0, (6, 16)
_COMPONENTS, _DENSITIES, _BINS, _EDGE = 4, 4, 36, 3.5
_OUTLIERS = 12
_COMPARED, _DRAWN = 8, 8
_SKY = (35, 35, 35)  # as pictures show it


def galaxy_map(stage: Stage, questions: Sequence[Question]) -> dict[str, Any]:
    """Lay the galaxies out by UMAP: observed ones and decoded points on a grid, coloured dots."""
    e = stage.encoded
    side = int(np.clip(np.sqrt(len(e) / _PER_CELL), *_CELLS))
    flat = flatten(e.galaxy, side, stage.seed)
    at = flat.nearest.ravel()
    full = at >= 0
    points = join_latents(flat.latents.reshape(side * side, -1)[full], e.view[at[full]])
    pictures = [stage.zoomed(some) for some in (stage.seen[at[full]], stage.redraw(points))]
    seen, made = (np.full((side * side, *some.shape[1:]), _SKY, np.uint8) for some in pictures)
    seen[full], made[full] = pictures
    x, y = ((flat.points - flat.points.min(0)) / np.ptp(flat.points, axis=0)).T  # all of them
    return {
        "seen": stage.sheet(seen, side, "Galaxies at the points of a grid over UMAP", gap=0),
        "made": stage.sheet(
            made, side, "The same grid points decoded by way of inverse UMAP", gap=0
        ),
        "coloured": _coloured(stage, questions, x, y),
    }


def densities(stage: Stage) -> list[dict[str, Any]]:
    """Count galaxies over pairs of the most used latents, the galaxy's and the view's apart."""
    e, cut = stage.encoded, stage.encoded.space.galaxy_latents
    order = np.argsort(-stage.kl, kind="stable")
    shown = []
    for kind, own in (("galaxy", order[order < cut]), ("view", order[order >= cut])):
        for a, b in zip(own[0 : 2 * _DENSITIES : 2], own[1 : 2 * _DENSITIES : 2], strict=False):
            counts = density(e.mean[:, a], e.mean[:, b], _EDGE, _BINS)
            shown.append({"kind": kind, "x": int(a), "y": int(b), "uri": heat(counts)})
    return shown


def pair_plot(stage: Stage) -> dict[str, Any]:
    """Principal components of the galaxy latents against each other, coloured by magnitude."""
    points, share = principal(stage.encoded.galaxy, _COMPONENTS)
    edge = np.abs(points).max() * 1.02
    unit = points / (2 * edge) + 0.5
    edges = np.linspace(0, 1, 41)
    n = unit.shape[1]
    cells = [
        [
            {"histogram": histogram([unit[:, row]], edges, PLOT, PLOT)[0]}
            if row == column
            else {"dots": dots(unit[:, column], unit[:, row], -stage.magnitude, PLOT)}
            for column in range(row + 1)
        ]
        for row in range(n)
    ]
    return {"cells": cells, "share": share.tolist()}


def asked(stage: Stage, questions: Sequence[Question], groups: np.ndarray) -> list[Answer]:
    """Ask every question of the galaxy latents and of the view latents; unanswerable ones go."""
    e = stage.encoded
    sets = {"galaxy": e.galaxy, "view": e.view}
    answers = [answer(question, sets, groups, stage.seed) for question in questions]
    return [found for found in answers if found is not None]


def outliers(stage: Stage) -> list[tuple[str, list[Picture]]]:
    """Show the galaxies that are most alone, farthest out, worst redrawn, and the plainest."""
    e = stage.encoded
    alone, far = isolation(e.galaxy), remoteness(e.galaxy)
    mse, _ = mse_and_psnr(e.images, e.decoded, value_range(e.images))
    rankings = (
        ("Farthest from their ten nearest neighbours", alone, "{:.2f} away"),
        ("Farthest from the middle of all galaxies", far, "{:.1f} σ out"),
        ("Redrawn worst", mse, "MSE {:.3f}"),
        ("For comparison: closest to their neighbours", -alone, "{:.2f} away"),
    )
    return [
        (
            title,
            [
                stage.observed(row, f"{said.format(abs(score[row]))} · {e.ids[row]}")
                for row in np.argsort(-score, kind="stable")[:_OUTLIERS]
            ],
        )
        for title, score, said in rankings
    ]


def rate_curve(stage: Stage, name: str, others: Mapping[str, EncodedSample]) -> dict[str, Any]:
    """Compare spaces of several sizes: rate, distortion, the same galaxies, and draws of each."""
    spaces = {name: stage.encoded, **others}
    span = value_range(stage.encoded.images)
    rates = sorted(
        (rate(title, encoded, span) for title, encoded in spaces.items()), key=lambda r: r.latents
    )
    components = pca_rates(stage.encoded.images, sorted({r.latents for r in rates}), span)
    rows = evenly(stage.bright, _COMPARED)
    return {
        "rates": rates,
        "pca": components,
        "charts": _rate_charts(rates, components),
        "observed": stage.sheet(stage.seen[rows], _COMPARED, "Galaxies as observed"),
        "drawn": [
            {
                "rate": r,
                "redrawn": stage.sheet(
                    colours(spaces[r.name].space, spaces[r.name].decoded[rows]),
                    _COMPARED,
                    f"The same galaxies decoded by {r.name}",
                ),
                "samples": stage.sheet(
                    _drawn(spaces[r.name], stage.seed), _DRAWN, f"Draws from {r.name}"
                ),
            }
            for r in rates
        ],
    }


def _coloured(
    stage: Stage, questions: Sequence[Question], x: np.ndarray, y: np.ndarray
) -> list[tuple[str, dict[str, Any]]]:
    """Draw points coloured by what each title names: measured values, and the first classes."""
    bands = stage.encoded.space.frame.bands
    values = {f"{bands[stage.middle]} magnitude within 5″": -stage.magnitude}
    if len(bands) > 1:
        values[f"{bands[0]} − {bands[-1]} [mag]"] = stage.colour
    values["distance to ten nearest"] = isolation(stage.encoded.galaxy)
    drawn = [(title, dots(x, y, value, PLOT)) for title, value in values.items()]
    asking = [(q.name, q.classes) for q in questions if q.classes is not None]
    for name, classes in asking[:1]:
        counts = Counter(answer for answer in classes.tolist() if answer is not None)
        common = [answer for answer, _ in counts.most_common(len(CLASS_COLOURS))]
        drawn.append((name, class_dots(x, y, classes, common, PLOT)))
    return drawn


def _rate_charts(rates: Sequence[Rate], components: Sequence[Rate]) -> list[dict[str, Any]]:
    """Distortion over latents and over rate, as points of SVG polylines."""
    every = [*rates, *components]
    low, high = min(r.psnr for r in every), max(r.psnr for r in every)
    margin = 0.1 * max(high - low, 0.1)
    ends = (low - margin, high + margin)
    charts = []
    for title, lines in (
        ("PSNR [dB] over latents", [("spaces", rates, "latents"), ("pca", components, "latents")]),
        ("PSNR [dB] over rate [bits per galaxy]", [("spaces", sorted(rates, key=_bits), "bits")]),
    ):
        across = [getattr(r, key) for _, line, key in lines for r in line]
        room = 0.08 * max(max(across) - min(across), 1)
        x_ends = (max(min(across) - room, 0), max(across) + room)
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
    """Points of a line, each with its value across, or without where it would hide the last."""
    across = [getattr(r, key) for r in line]
    points = curve(np.array(across), np.array([r.psnr for r in line]), x_ends, y_ends, *_CHART)
    labelled, last = [], -np.inf
    for point, value in zip(points, across, strict=True):
        clear = point[0] - last >= _LABEL
        labelled.append((point, f"{value:.0f}" if clear else ""))
        last = point[0] if clear else last
    return labelled


def _bits(found: Rate) -> float:
    return found.bits


def _drawn(encoded: EncodedSample, seed: int) -> np.ndarray:
    points = draw(encoded.mean, _DRAWN, seed)["gaussian"]
    return colours(encoded.space, encoded.space.decode(points))
