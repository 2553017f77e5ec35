"""Write what an evaluation found as one HTML page, its pictures inside."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined

from catalogs.pairs import PairedRows
from evaluation.evaluate import Evaluation, sample_bands
from evaluation.pictures import histogram, thumbnails, to_data_uris, to_decals_colour
from galaxy_da.errors import CatalogError, LatentIndexError
from galaxy_da.files import atomic_path
from galaxy_da.images import Frame
from galaxy_da.index import LatentIndex
from galaxy_da.loading import load_images, row_numbers
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey
from galaxy_da.tables import Flag, Sample

__all__ = ["write_report"]

GALAXIES, QUERIES, NEIGHBOURS, OUTLIERS = 8, 5, 5, 12
"""Pictures per section: galaxies; anchor queries and neighbours of each; outliers per survey."""

_RANDOM_PAIRS = 20_000
_CANDIDATES = 400
"""Galaxies among which the brighter ones are chosen."""
_BINS = 60
_CHART = (320.0, 120.0)
_SEED = 0


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    space: LatentSpace,
    evaluations: Sequence[Evaluation],
    samples: Mapping[str, Sample],
    index: LatentIndex,
    pairs: Mapping[str, pa.Table],
    next_steps: Sequence[str] = (),
    own: Mapping[str, Survey] | None = None,
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
    views = {name: _view(space, samples[name], name, own) for name in (space.anchor, *names)}
    anchor = views.pop(space.anchor)
    targets = [_target(index, anchor, view, pairs[name]) for name, view in views.items()]
    galaxies, closeness = _common(len(anchor.sample), targets)
    bright = _brighter_half(index, anchor, galaxies)
    page = {
        "title": title,
        "space": space,
        "anchor": anchor,
        "targets": targets,
        "evaluations": list(zip(views.values(), evaluations, strict=True)),
        "counts": [(v, len(v.sample), _count(index, v)) for v in (anchor, *views.values())],
        "same": _same_galaxies(anchor, targets, galaxies, closeness),
        "queries": _neighbours(index, anchor, targets, _spread(bright[1:-1], QUERIES)),
        "outliers": [(view, _outliers(index, view)) for view in (anchor, *views.values())],
        "decoded": _reconstructions(space, index, anchor, targets, _spread(bright, GALAXIES)),
        "charts": [(target.view, _chart(target)) for target in targets],
        "next_steps": next_steps,
    }
    environment = Environment(
        loader=PackageLoader("evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("report.html.j2").render(page)
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """A thumbnail with what is said of it; `uri` is None where there is no usable cutout."""

    uri: str | None
    alt: str
    caption: str = ""
    is_match: bool = False


@dataclass(frozen=True, kw_only=True)
class _View:
    """One survey's cutouts, and how they enter the frame."""

    sample: Sample
    encoder: SurveyEncoder
    frame: Frame

    @property
    def name(self) -> str:
        return self.encoder.survey.name

    @property
    def title(self) -> str:
        """The survey's title without what it says in brackets."""
        return self.encoder.survey.title.partition(" (")[0]

    def ids(self, rows: np.ndarray) -> list[str]:
        """Object ids of rows, empty for -1."""
        known = self.sample.catalog["object_id"].take(pa.array(np.maximum(rows, 0)))
        return [str(i) if row >= 0 else "" for row, i in zip(rows, known.to_pylist(), strict=True)]

    def pictures(
        self, rows: np.ndarray, captions: Sequence[str], is_match: Sequence[bool] | None = None
    ) -> list[_Picture]:
        uris = thumbnails(self.sample, rows, self.encoder, self.frame)
        marks = is_match or [False] * len(rows)
        return [
            _Picture(uri=uri, alt=f"{self.title} {i}".strip(), caption=caption, is_match=mark)
            for uri, i, caption, mark in zip(uris, self.ids(rows), captions, marks, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class _Target:
    """Test pairs of one survey that are in the index.

    `anchor_rows` and `rows` are of the sample tables, `vectors` (n, d) the latents; `random` are
    sorted distances between galaxies that are no pair.
    """

    view: _View
    anchor_rows: np.ndarray
    rows: np.ndarray
    vectors: np.ndarray
    distance: np.ndarray
    random: np.ndarray

    @cached_property
    def percentile(self) -> np.ndarray:
        """Share of random pairs closer than each pair."""
        return np.searchsorted(self.random, self.distance) / len(self.random)

    def places(self, galaxies: np.ndarray) -> np.ndarray:
        """Position among the pairs of anchor rows, -1 where there is none."""
        place = np.full(max(self.anchor_rows.max(), galaxies.max()) + 1, -1)
        place[self.anchor_rows] = np.arange(len(self.anchor_rows))
        return np.asarray(place[galaxies])

    def rows_of(self, galaxies: np.ndarray) -> np.ndarray:
        """Row of each galaxy in this survey's sample, -1 where it has none."""
        place = self.places(galaxies)
        return np.where(place < 0, -1, self.rows[place])


def _check(
    space: LatentSpace,
    index: LatentIndex,
    names: Sequence[str],
    samples: Mapping[str, Sample],
    pairs: Mapping[str, pa.Table],
) -> None:
    if not names:
        raise ValueError("a report takes at least one evaluation")
    for what, given, wanted in (
        ("sample", samples, (space.anchor, *names)),
        ("pair table", pairs, names),
    ):
        missing = [name for name in wanted if name not in given]
        if missing:
            raise ValueError(
                f"no {what} for {', '.join(missing)}; given are {', '.join(given) or 'none'}"
            )
    index.check_space(space.id)
    for name in set(names) & set(space.surveys):
        if index.encoders.get(name, space.encoder(name).hash) != space.encoder(name).hash:
            raise LatentIndexError(
                f"{name}: this index was built with another encoder than the one in the space; "
                "extract and index this survey again"
            )


def _view(space: LatentSpace, sample: Sample, name: str, own: Mapping[str, Survey] | None) -> _View:
    survey = space.survey(name, own)
    if name in space.surveys:
        encoder = space.encoder(name)
    else:
        encoder = space.unadapted(survey, sample_bands(sample, survey))
    return _View(sample=sample, encoder=encoder, frame=space.frame)


def _target(index: LatentIndex, anchor: _View, view: _View, pairs: pa.Table) -> _Target:
    """Measure the test pairs against pairs of the same galaxies drawn at random."""
    test = PairedRows.of(pairs, anchor.sample, view.sample).only("test")
    first, second = _index_rows(index, anchor, test.anchor), _index_rows(index, view, test.target)
    found = (first >= 0) & (second >= 0)
    n = int(found.sum())
    if n < 2:
        raise CatalogError(
            f"{view.name}: {n} of {len(test)} test pairs are in the index, at least two are "
            "needed; index the samples that were evaluated"
        )
    here, there = index.vectors[first[found]], index.vectors[second[found]]
    rng = np.random.default_rng(_SEED)
    one = rng.integers(n, size=_RANDOM_PAIRS)
    other = (one + rng.integers(1, n, _RANDOM_PAIRS)) % n
    return _Target(
        view=view,
        anchor_rows=test.anchor[found],
        rows=test.target[found],
        vectors=there,
        distance=np.linalg.norm(here - there, axis=1),
        random=np.sort(np.linalg.norm(here[one] - there[other], axis=1)),
    )


def _index_rows(index: LatentIndex, view: _View, rows: np.ndarray) -> np.ndarray:
    """Row numbers in the index of rows of a sample, -1 where it lacks them."""
    start, stop = index.span(view.name)
    known = index.rows["object_id"].slice(start, stop - start).combine_chunks()
    ids = view.sample.catalog["object_id"].take(pa.array(rows)).cast(pa.string())
    found = np.asarray(pc.fill_null(pc.index_in(ids, value_set=known), -1))
    return np.where(found < 0, -1, found + start)


def _count(index: LatentIndex, view: _View) -> int:
    start, stop = index.span(view.name)
    return stop - start


def _common(n_anchor: int, targets: Sequence[_Target]) -> tuple[np.ndarray, np.ndarray]:
    """Anchor rows of the galaxies that most surveys have, closest first, and their closeness.

    Closeness is the distance over the median random one, averaged over surveys.
    """
    seen, total = np.zeros(n_anchor), np.zeros(n_anchor)
    for target in targets:
        seen[target.anchor_rows] += 1
        total[target.anchor_rows] += target.distance / max(np.median(target.random), 1e-12)
    galaxies = np.flatnonzero(seen == seen.max())
    closeness = total[galaxies] / seen.max()
    order = np.argsort(closeness)
    return galaxies[order], closeness[order]


def _brighter_half(index: LatentIndex, anchor: _View, galaxies: np.ndarray) -> np.ndarray:
    """Anchor rows of unflagged galaxies above the median brightness, brightest first."""
    rng = np.random.default_rng(_SEED)
    some = rng.permutation(galaxies)[:_CANDIDATES]
    images, _ = load_images(anchor.sample, some, anchor.encoder, anchor.frame)
    quarter = anchor.frame.pixels // 4
    middle = anchor.frame.to_surface_brightness(images)[..., quarter:-quarter, quarter:-quarter]
    flags = np.asarray(index.rows["flags"])[_index_rows(index, anchor, some)]
    brightness = np.where(flags == 0, middle.mean((1, 2, 3)).numpy(), -np.inf)
    return some[np.argsort(-brightness)[: -(-len(some) // 2)]]


def _spread(order: np.ndarray, count: int) -> np.ndarray:
    """Take at most `count` of an ordered array, evenly, ends included."""
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return np.asarray(order[places.round().astype(int)])


def _same_galaxies(
    anchor: _View, targets: Sequence[_Target], galaxies: np.ndarray, closeness: np.ndarray
) -> list[dict[str, Any]]:
    """One row per galaxy, from the best placed to the worst."""
    places = _spread(np.arange(len(galaxies)), GALAXIES)
    chosen = galaxies[places]
    columns = [anchor.pictures(chosen, anchor.ids(chosen))]
    for target in targets:
        at = target.places(chosen)
        captions = [
            f"{target.distance[i]:.2f} · {target.percentile[i]:.1%}" if i >= 0 else "" for i in at
        ]
        columns.append(target.view.pictures(target.rows_of(chosen), captions))
    shares = places / max(len(galaxies) - 1, 1)
    return [
        {"share": share, "closeness": close, "pictures": row}
        for share, close, row in zip(
            shares, closeness[places], zip(*columns, strict=True), strict=True
        )
    ]


def _neighbours(
    index: LatentIndex, anchor: _View, targets: Sequence[_Target], queries: np.ndarray
) -> list[dict[str, Any]]:
    """For each anchor galaxy the nearest of every other survey."""
    rows = []
    for query, picture in zip(queries, anchor.pictures(queries, anchor.ids(queries)), strict=True):
        key = f"{anchor.name}:{picture.caption}"
        groups = []
        for target in targets:
            view = target.view
            found = index.similar(key, NEIGHBOURS, view.name)
            own = view.ids(target.rows_of(np.array([query])))[0]
            pictures = view.pictures(
                row_numbers(view.sample, found["object_id"]),
                [f"{distance:.2f}" for distance in found["distance"].to_pylist()],
                [i == own for i in found["object_id"].to_pylist()],
            )
            rank = _rank(index, key, f"{view.name}:{own}") if own else None
            groups.append({"title": view.title, "pictures": pictures, "rank": rank})
        rows.append({"query": picture, "groups": groups})
    return rows


def _rank(index: LatentIndex, query: str, own: str) -> int:
    """Rank of a query's own galaxy among all of the other survey; 1 is nearest."""
    start, stop = index.span(own.partition(":")[0])
    distance = np.linalg.norm(index.vectors[start:stop] - index.vectors[index.row(query)], axis=1)
    return int((distance < distance[index.row(own) - start]).sum()) + 1


def _outliers(index: LatentIndex, view: _View) -> list[_Picture]:
    found = index.outliers(view.name, OUTLIERS)
    captions = [
        f"{score:.2f} · {_words(flags)}"
        for score, flags in zip(
            found["outlier_score"].to_pylist(), found["flags"].to_pylist(), strict=True
        )
    ]
    return view.pictures(row_numbers(view.sample, found["object_id"]), captions)


def _words(flags: int) -> str:
    """Say `galaxy_da.tables.Flag` bits in words."""
    return ", ".join(str(flag.name).replace("_", " ").lower() for flag in Flag(flags)) or "clean"


def _reconstructions(
    space: LatentSpace,
    index: LatentIndex,
    anchor: _View,
    targets: Sequence[_Target],
    galaxies: np.ndarray,
) -> list[list[tuple[_Picture, _Picture]]]:
    """For each galaxy, every survey's image beside what its latents decode to."""
    latents = index.vectors[_index_rows(index, anchor, galaxies)]
    columns = [_decoded(space, anchor, anchor, galaxies, latents)]
    for target in targets:
        place = target.places(galaxies)
        latents = target.vectors[place]
        columns.append(_decoded(space, anchor, target.view, target.rows_of(galaxies), latents))
    return [list(row) for row in zip(*columns, strict=True)]


def _decoded(
    space: LatentSpace, anchor: _View, view: _View, rows: np.ndarray, latents: np.ndarray
) -> list[tuple[_Picture, _Picture]]:
    images = space.decode(torch.from_numpy(np.ascontiguousarray(latents)))
    colours = to_decals_colour(images, anchor.encoder.survey, space.frame.bands, space.frame)
    uris = [uri if row >= 0 else None for uri, row in zip(to_data_uris(colours), rows, strict=True)]
    shown = view.pictures(rows, [view.title] * len(rows))
    return [
        (picture, _Picture(uri=uri, alt=f"{picture.alt}, decoded", caption="decoded"))
        for picture, uri in zip(shown, uris, strict=True)
    ]


def _chart(target: _Target) -> dict[str, Any]:
    """Histograms of same and random pairs on a common axis."""
    top = max(np.quantile(target.random, 0.995), np.quantile(target.distance, 0.95))
    edges = np.linspace(0, max(float(top), 1e-12), _BINS + 1)
    same, random = histogram([target.distance, target.random], edges, *_CHART)
    ticks = _round_ticks(edges[-1])
    return {
        "same": same,
        "random": random,
        "size": _CHART,
        "ticks": [(tick, tick / edges[-1] * _CHART[0]) for tick in ticks],
        "n": len(target.distance),
        "medians": (float(np.median(target.distance)), float(np.median(target.random))),
    }


def _round_ticks(top: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, four to ten of them up to `top`."""
    power = 10 ** np.floor(np.log10(top))
    step = next(power * s for s in (1, 0.5, 0.2) if top / (power * s) >= 4)
    return [float(tick) for tick in np.arange(0, top * (1 + 1e-9), step)]
