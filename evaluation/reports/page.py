"""Write what an evaluation found as one HTML page, its pictures inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation.evaluate import Evaluation
from evaluation.reports.details import Details
from evaluation.reports.drawings import CURVE
from evaluation.reports.images import (
    SEED,
    PairsInIndex,
    Picture,
    View,
    pairs_in_index,
    view_of,
)
from evaluation.reports.page_file import write_page
from evaluation.reports.pictures import histogram, to_data_uris, to_decals_colour
from evaluation.reports.sections import detailed
from galaxy_da.errors import LatentIndexError
from galaxy_da.extraction.loading import load_images, row_numbers
from galaxy_da.io.samples import Flag, Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.rows import all_latents
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey

__all__ = ["write_report"]

GALAXIES, QUERIES, NEIGHBOURS, OUTLIERS, EXTREMES = 8, 5, 10, 12, 6
"""Pictures per section: galaxies; anchor queries and neighbours of each; outliers per survey; pairs
of either gallery."""

_TITLES = {
    "recall_at_1": "Recall@1",
    "mean_reciprocal_rank": "Mean reciprocal rank",
    "distance_ratio": "Distance ratio",
    "gain": "Gain",
    "gain_error": "± error",
    "mmd": "Mean discrepancy",
}
"""Of candidates' scores."""

_CANDIDATES = 400
"""Galaxies among which the brighter ones are chosen."""
_BINS = 60
_CHART = (320.0, 120.0)


def write_report(
    path: PathOrUrl,
    *,
    title: str,
    space: LatentSpace,
    evaluations: Sequence[Evaluation],
    samples: Mapping[str, Sample],
    index: LatentIndex,
    pairs: Mapping[str, pa.Table],
    next_steps: Sequence[str] = (),
    own: Mapping[str, Survey] | None = None,
    details: Sequence[Details] = (),
) -> None:
    """Write one self-contained page: figures, and pictures of the galaxies behind them.

    Pairs shown are of the test part of the sky; neighbours and outliers come from the whole index.

    Parameters
    ----------
    path : path
        The HTML file.
    title : str
        Its heading.
    space : LatentSpace
        Surveys it has no encoder for are shown un-adapted.
    evaluations : sequence of Evaluation
        One per target survey.
    samples : dict of str to Sample
        Cutouts of the anchor and of each target.
    index : LatentIndex
        Features of those samples in this space.
    pairs : dict of str to pa.Table
        Pair table from the anchor to each target.
    next_steps : sequence of str
        Commands to run next.
    own : dict of str to Survey, optional
        Definitions of targets that neither the space nor the library knows.
    details : sequence of Details
        More figures of some of the targets.

    Raises
    ------
    ValueError
        If there is no evaluation, or a sample or a pair table is not given.
    LatentIndexError
        If the index is of another space or encoder, or lacks a survey.
    CatalogError
        If fewer than two test pairs of a target are in the index.
    StorageError
        If the page cannot be written.
    """
    names = [evaluation.survey for evaluation in evaluations]
    _check(space, index, names, samples, pairs)
    anchor, *views = [
        view_of(space, index, samples[name], space.survey(name, own))
        for name in (space.anchor, *names)
    ]
    targets = [pairs_in_index(index, anchor, view, pairs[view.name]) for view in views]
    more = {item.survey: item for item in details}
    galaxies = _by_closeness(targets)
    bright = _brighter_half(index, anchor, galaxies)
    page: dict[str, Any] = {
        "title": title,
        "space": space,
        "anchor": anchor,
        "views": [anchor, *views],
        "evaluations": list(zip(views, evaluations, strict=True)),
        "same": _same_galaxies(anchor, targets, _spread(galaxies, GALAXIES)),
        "queries": _neighbours(index, anchor, targets, _spread(bright[1:-1], QUERIES)),
        "outliers": [(view, _outliers(index, view)) for view in (anchor, *views)],
        "decoded": _reconstructions(space, index, anchor, targets, _spread(bright, GALAXIES)),
        "alike": [(target.view, _galleries(anchor, target)) for target in targets],
        "charts": [(target.view, _chart(target, more.get(target.view.name))) for target in targets],
        "details": [(view, detailed(view.encoder.record, more.get(view.name))) for view in views],
        "curve": CURVE,
        "titles": _TITLES,
        "next_steps": next_steps,
    }
    page["has"] = _present(page)
    write_page(path, "evaluation.reports", "report.html.j2", page)


def _present(page: Mapping[str, Any]) -> dict[str, bool]:
    """Say which of the sections that not every space has are there."""
    shown = [found for _, found in page["details"]]
    parts = {
        "measured": ("recalls", "strata", "domains"),
        "classes": ("confusion",),
        "reliability": ("reliability",),
        "curves": ("curves",),
    }
    present = {
        name: any(found[key] for found in shown for key in keys) for name, keys in parts.items()
    }
    hard = any(chart["hard_median"] is not None for _, chart in page["charts"])
    return {**present, "hard": hard}


def _check(
    space: LatentSpace,
    index: LatentIndex,
    names: Sequence[str],
    samples: Mapping[str, Sample],
    pairs: Mapping[str, pa.Table],
) -> None:
    if not names:
        raise ValueError("a report takes at least one evaluation but got none")
    lacking = [f"sample of {name}" for name in (space.anchor, *names) if name not in samples]
    lacking += [f"pairs of {name}" for name in names if name not in pairs]
    if lacking:
        raise ValueError(f"a report on {', '.join(names)} lacks the {', '.join(lacking)}")
    index.check_space(space.id)
    for name in space.surveys:
        if index.encoders.get(name, space.encoder(name).hash) != space.encoder(name).hash:
            raise LatentIndexError(
                f"{name}: this index was built with another encoder than the space has; extract "
                "and index this survey again"
            )


def _by_closeness(targets: Sequence[PairsInIndex]) -> np.ndarray:
    """Anchor rows of the galaxies that most surveys have, those with the closest images first."""
    relative = np.stack([t.distance / max(np.median(t.random), 1e-12) for t in targets])
    seen = np.isfinite(relative).sum(0)
    galaxies = np.flatnonzero(seen == seen.max())
    return np.asarray(galaxies[np.argsort(np.nanmean(relative[:, galaxies], 0))])


def _brighter_half(index: LatentIndex, anchor: View, galaxies: np.ndarray) -> np.ndarray:
    """Anchor rows of galaxies above the median brightness, brightest first; flagged ones last."""
    some = np.random.default_rng(SEED).permutation(galaxies)[:_CANDIDATES]
    images, _ = load_images(anchor.sample, some, anchor.encoder, anchor.frame)
    edge = 3 * anchor.frame.pixels // 8
    faintest_band = images[..., edge:-edge, edge:-edge].mean((2, 3)).amin(1).numpy()
    flags = index.rows["flags"].to_numpy()[anchor.in_index[some]]
    brightness = np.where(flags == 0, faintest_band, -np.inf)  # a trail is in one band alone
    return np.asarray(some[np.argsort(-brightness)[: -(-len(some) // 2)]])


def _spread(order: np.ndarray, count: int) -> np.ndarray:
    """Take at most `count` of an ordered array, in equal steps from first to last."""
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return np.asarray(order[places.round().astype(int)])


def _same_galaxies(
    anchor: View, targets: Sequence[PairsInIndex], galaxies: np.ndarray
) -> list[tuple[Picture, ...]]:
    columns = [anchor.pictures(galaxies, anchor.ids[galaxies])]
    for target in targets:
        distance = target.distance[galaxies]
        closer = np.searchsorted(target.random, distance) / len(target.random)
        captions = [
            f"{d:.2f} · {c:.1%} closer" if np.isfinite(d) else "not paired"
            for d, c in zip(distance, closer, strict=True)
        ]
        columns.append(target.view.pictures(target.rows[galaxies], captions))
    return list(zip(*columns, strict=True))


def _galleries(
    anchor: View, target: PairsInIndex
) -> list[tuple[str, list[tuple[Picture, Picture]]]]:
    """Show the true pairs that lie nearest, and those that lie farthest apart."""
    order = np.argsort(target.distance)[: int(np.isfinite(target.distance).sum())]
    ends = (("nearest", order[:EXTREMES]), ("farthest", order[::-1][:EXTREMES]))
    galleries = []
    for name, rows in ends:
        distances = [f"{d:.2f}" for d in target.distance[rows]]
        here = anchor.pictures(rows, [""] * len(rows))
        there = target.view.pictures(target.rows[rows], distances)
        galleries.append((name, list(zip(here, there, strict=True))))
    return galleries


def _neighbours(
    index: LatentIndex, anchor: View, targets: Sequence[PairsInIndex], galaxies: np.ndarray
) -> list[dict[str, Any]]:
    return [
        {"galaxy": picture, "groups": [_nearest(index, anchor, t, query) for t in targets]}
        for query, picture in zip(
            galaxies, anchor.pictures(galaxies, anchor.ids[galaxies]), strict=True
        )
    ]


def _nearest(index: LatentIndex, anchor: View, target: PairsInIndex, query: int) -> dict[str, Any]:
    """Nearest images of one survey, and the rank of the query's own among all of them."""
    view, own = target.view, target.rows[query]
    found = index.similar(f"{anchor.name}:{anchor.ids[query]}", NEIGHBOURS, view.name)
    captions = [f"{distance:.2f}" for distance in found["distance"].to_pylist()]
    rows = row_numbers(view.sample, found["object_id"])
    start, stop = index.span(view.name)
    vectors, point = index.vectors[start:stop], index.vectors[anchor.in_index[query]]
    distance = np.linalg.norm(vectors - point, axis=1)
    closer = distance < distance[view.in_index[own] - start]
    return {
        "title": view.title,
        "pictures": view.pictures(rows, captions, view.ids[own] if own >= 0 else None),
        "rank": int(closer.sum()) + 1 if own >= 0 else None,
    }


def _outliers(index: LatentIndex, view: View) -> list[Picture]:
    found = index.outliers(view.name, OUTLIERS)
    scores, flags = found["outlier_score"].to_pylist(), found["flags"].to_pylist()
    captions = [f"{score:.2f} · {_words(bits)}" for score, bits in zip(scores, flags, strict=True)]
    return view.pictures(row_numbers(view.sample, found["object_id"]), captions)


def _words(flags: int) -> str:
    """Say `galaxy_da.io.samples.Flag` bits in words."""
    return ", ".join(str(flag.name).replace("_", " ").lower() for flag in Flag(flags)) or "no flags"


def _reconstructions(
    space: LatentSpace,
    index: LatentIndex,
    anchor: View,
    targets: Sequence[PairsInIndex],
    galaxies: np.ndarray,
) -> list[tuple[str, tuple[tuple[Picture, Picture], ...]]]:
    """Each galaxy's id, and every survey's image with what its latents decode to."""
    shown = [(anchor, galaxies), *((t.view, t.rows[galaxies]) for t in targets)]
    columns = []
    for view, rows in shown:
        images = space.decode(all_latents(index, view.in_index[rows]))
        colours = to_decals_colour(images, anchor.encoder.survey, space.frame.bands, space.frame)
        seen = view.pictures(rows, [""] * len(rows))
        made = [
            replace(picture, uri=picture.uri and uri, alt=f"{picture.alt}, decoded")
            for picture, uri in zip(seen, to_data_uris(colours), strict=True)
        ]
        columns.append(zip(seen, made, strict=True))
    return list(zip(anchor.ids[galaxies], zip(*columns, strict=True), strict=True))


def _chart(target: PairsInIndex, details: Details | None) -> dict[str, Any]:
    """Histograms of same, hard and random pairs on a common axis."""
    same = target.distance[np.isfinite(target.distance)]
    hard = None if details is None else details.hard_distances
    top = max(float(np.quantile(target.random, 0.97)), float(np.quantile(same, 0.95)), 1e-12)
    edges = np.linspace(0, top, _BINS + 1)
    step = 10 ** np.floor(np.log10(top / 2))
    step *= 1 if top < 5 * step else 2 if top < 10 * step else 5
    kinds = {"random": target.random, "hard": hard, "same": same}
    shown = {name: values for name, values in kinds.items() if values is not None}
    drawn = histogram(list(shown.values()), edges, *_CHART)
    return {
        "polygons": list(zip(shown, drawn, strict=True)),
        "size": _CHART,
        "ticks": [(tick, tick / top * _CHART[0]) for tick in np.arange(0, top, step)],
        "pairs": len(same),
        "medians": (float(np.median(same)), float(np.median(target.random))),
        "hard_median": None if hard is None else float(np.median(hard)),
    }
