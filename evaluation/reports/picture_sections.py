"""Pictures of the sections of a report: pairs, neighbours, outliers, decoded images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from evaluation.reports.pictures import to_data_uris
from evaluation.reports.survey_images import SEED, PairsInIndex, Picture, SurveyImages
from galaxy_da.extraction.loading import load_images, row_numbers
from galaxy_da.images.display import to_decals_colour
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.outliers import STRANGE
from galaxy_da.queries.rows import all_latents
from galaxy_da.space import LatentSpace

NEIGHBOURS, OUTLIERS, EXTREMES = 10, 12, 6
"""Neighbours of each query; outliers of each survey; pairs in either gallery of extremes."""

_CANDIDATES = 400  # galaxies among which the brighter half is chosen


def by_distance(targets: Sequence[PairsInIndex]) -> np.ndarray:
    """Return anchor rows of the galaxies that most surveys show, the closest images first.

    Distances are relative to the median of random pairs of each survey, and averaged.
    """
    relative = np.stack([t.distance / max(np.median(t.random), 1e-12) for t in targets])
    surveys = np.isfinite(relative).sum(0)
    galaxies = np.flatnonzero(surveys == surveys.max())
    return np.asarray(galaxies[np.argsort(np.nanmean(relative[:, galaxies], 0))])


def brighter_half(index: LatentIndex, anchor: SurveyImages, galaxies: np.ndarray) -> np.ndarray:
    """Return the brighter half of at most 400 galaxies, brightest first, flagged ones last."""
    chosen = np.random.default_rng(SEED).permutation(galaxies)[:_CANDIDATES]
    inputs, _ = load_images(anchor.sample, chosen, anchor.encoder, anchor.frame)
    edge = 3 * anchor.frame.pixels // 8
    middle = inputs.images[:, : len(anchor.frame.bands), edge:-edge, edge:-edge]
    faintest_band = middle.mean((2, 3)).amin(1).numpy()
    flags = index.rows["flags"].to_numpy()[anchor.in_index[chosen]]
    brightness = np.where(flags == 0, faintest_band, -np.inf)  # a trail is in one band alone
    return np.asarray(chosen[np.argsort(-brightness)[: -(-len(chosen) // 2)]])


def evenly(order: np.ndarray, count: int) -> np.ndarray:
    """Take at most `count` values of an ordered array, in equal steps from first to last."""
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return np.asarray(order[places.round().astype(int)])


def same_galaxies(
    anchor: SurveyImages, targets: Sequence[PairsInIndex], galaxies: np.ndarray
) -> list[tuple[Picture, ...]]:
    """Show each galaxy in every survey, with its latent distance from the anchor's image."""
    columns = [anchor.pictures(galaxies, anchor.ids[galaxies])]
    for target in targets:
        distance = target.distance[galaxies]
        closer = np.searchsorted(target.random, distance) / len(target.random)
        captions = [
            f"{d:.2f} · {c:.1%} closer" if np.isfinite(d) else "not paired"
            for d, c in zip(distance, closer, strict=True)
        ]
        columns.append(target.images.pictures(target.rows[galaxies], captions))
    return list(zip(*columns, strict=True))


def extreme_pairs(
    anchor: SurveyImages, target: PairsInIndex
) -> list[tuple[str, list[tuple[Picture, Picture]]]]:
    """Show the true pairs with the smallest and those with the largest latent distance."""
    order = np.argsort(target.distance)[: int(np.isfinite(target.distance).sum())]
    ends = (("nearest", order[:EXTREMES]), ("farthest", order[::-1][:EXTREMES]))
    galleries = []
    for name, rows in ends:
        distances = [f"{d:.2f}" for d in target.distance[rows]]
        first = anchor.pictures(rows, [""] * len(rows))
        second = target.images.pictures(target.rows[rows], distances)
        galleries.append((name, list(zip(first, second, strict=True))))
    return galleries


def neighbours(
    index: LatentIndex, anchor: SurveyImages, targets: Sequence[PairsInIndex], queries: np.ndarray
) -> list[dict[str, Any]]:
    """Show anchor galaxies with their nearest images of each survey."""
    pictures = anchor.pictures(queries, anchor.ids[queries])
    return [
        {"galaxy": picture, "groups": [_nearest(index, anchor, t, query) for t in targets]}
        for query, picture in zip(queries, pictures, strict=True)
    ]


def outliers(index: LatentIndex, images: SurveyImages) -> list[Picture]:
    """Show the strangest galaxies of a survey with the reasons."""
    found = index.outliers(images.name, OUTLIERS)
    found = found.filter(pc.equal(found["ranking"], STRANGE))
    return images.pictures(
        row_numbers(images.sample, found["object_id"]), found["reason"].to_pylist()
    )


def decoded_images(
    space: LatentSpace,
    index: LatentIndex,
    anchor: SurveyImages,
    targets: Sequence[PairsInIndex],
    galaxies: np.ndarray,
) -> list[tuple[str, tuple[tuple[Picture, Picture], ...]]]:
    """Show each galaxy in every survey, with the image decoded from its latents."""
    columns = []
    for images, rows in [(anchor, galaxies), *((t.images, t.rows[galaxies]) for t in targets)]:
        decoded = space.decode(all_latents(index, images.in_index[rows]))
        colours = to_decals_colour(decoded, anchor.encoder.survey, space.frame.bands, space.frame)
        observed = images.pictures(rows, [""] * len(rows))
        redrawn = [
            replace(picture, uri=picture.uri and uri, alt=f"{picture.alt}, decoded")
            for picture, uri in zip(observed, to_data_uris(colours), strict=True)
        ]
        columns.append(zip(observed, redrawn, strict=True))
    return list(zip(anchor.ids[galaxies], zip(*columns, strict=True), strict=True))


def _nearest(
    index: LatentIndex, anchor: SurveyImages, target: PairsInIndex, query: int
) -> dict[str, Any]:
    """Show the nearest images of one survey, and rank the query's own among all of them."""
    images, own = target.images, target.rows[query]
    found = index.similar(f"{anchor.name}:{anchor.ids[query]}", NEIGHBOURS, images.name)
    captions = [f"{distance:.2f}" for distance in found["distance"].to_pylist()]
    rows = row_numbers(images.sample, found["object_id"])
    start, stop = index.span(images.name)
    point = index.vectors[anchor.in_index[query]]
    distance = np.linalg.norm(index.vectors[start:stop] - point, axis=1)
    closer = distance < distance[images.in_index[own] - start]
    return {
        "title": images.title,
        "pictures": images.pictures(rows, captions, images.ids[own] if own >= 0 else None),
        "rank": int(closer.sum()) + 1 if own >= 0 else None,
    }
