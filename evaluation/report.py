"""Write what an evaluation found as one HTML page, its pictures inside."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
    anchor, *views = [
        _view(space, index, samples[name], space.survey(name, own))
        for name in (space.anchor, *names)
    ]
    targets = [_measure(index, anchor, view, pairs[view.name]) for view in views]
    galaxies = _by_closeness(targets)
    bright = _brighter_half(index, anchor, galaxies)
    page = {
        "title": title,
        "space": space,
        "anchor": anchor,
        "views": [anchor, *views],
        "evaluations": list(zip(views, evaluations, strict=True)),
        "same": _same_galaxies(anchor, targets, _spread(galaxies, GALAXIES)),
        "queries": _neighbours(index, anchor, targets, _spread(bright[1:-1], QUERIES)),
        "outliers": [(view, _outliers(index, view)) for view in (anchor, *views)],
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
    """A thumbnail and what is said of it; `uri` is None where there is no usable cutout."""

    uri: str | None
    alt: str
    caption: str
    is_match: bool = False


@dataclass(frozen=True, kw_only=True)
class _View:
    """One survey's cutouts, how they enter the frame, and their rows in the index (-1: none)."""

    sample: Sample
    encoder: SurveyEncoder
    frame: Frame
    in_index: np.ndarray

    @property
    def name(self) -> str:
        return self.encoder.survey.name

    @property
    def title(self) -> str:
        """The survey's title up to a bracket."""
        return self.encoder.survey.title.partition(" (")[0]

    @property
    def indexed(self) -> int:
        return int((self.in_index >= 0).sum())

    @cached_property
    def ids(self) -> np.ndarray:
        """(n,) str array of object ids."""
        return np.array(self.sample.catalog["object_id"].to_pylist())

    def pictures(
        self, rows: np.ndarray, captions: Sequence[str], match: str | None = None
    ) -> list[_Picture]:
        """Show rows (-1: nothing to show), marking the one whose object id is `match`."""
        ids = np.where(rows < 0, "", self.ids[rows])
        return [
            _Picture(
                uri=uri, alt=f"{self.title} {i}".rstrip(), caption=caption, is_match=i == match
            )
            for uri, i, caption in zip(
                thumbnails(self.sample, rows, self.encoder, self.frame), ids, captions, strict=True
            )
        ]


@dataclass(frozen=True, kw_only=True)
class _Target:
    """A survey's test pairs that are in the index.

    Attributes
    ----------
    view : _View
    rows : (anchor sample,) int array
        Row of each anchor galaxy in the survey's sample, -1 where it has none.
    distance : (anchor sample,) float array
        Latent distance of its two images, NaN where there is none.
    random : (20000,) float array
        Distances of images of two galaxies, ascending.
    """

    view: _View
    rows: np.ndarray
    distance: np.ndarray
    random: np.ndarray


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


def _view(space: LatentSpace, index: LatentIndex, sample: Sample, survey: Survey) -> _View:
    if survey.name in space.surveys:
        encoder = space.encoder(survey.name)
    else:
        encoder = space.unadapted(survey, sample_bands(sample, survey))
    start, stop = index.span(survey.name)
    known = index.rows["object_id"].slice(start, stop - start).combine_chunks()
    found = pc.index_in(sample.catalog["object_id"].cast(pa.string()), value_set=known)
    places = np.asarray(pc.fill_null(pc.add(found, start), -1))
    return _View(sample=sample, encoder=encoder, frame=space.frame, in_index=places)


def _measure(index: LatentIndex, anchor: _View, view: _View, pairs: pa.Table) -> _Target:
    """Measure the test pairs, and images of two different galaxies among them."""
    test = PairedRows.of(pairs, anchor.sample, view.sample).only("test")
    first, second = anchor.in_index[test.anchor], view.in_index[test.target]
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
    rows, distance = np.full(len(anchor.sample), -1), np.full(len(anchor.sample), np.nan)
    rows[test.anchor[found]] = test.target[found]
    distance[test.anchor[found]] = np.linalg.norm(here - there, axis=1)
    random = np.sort(np.linalg.norm(here[one] - there[other], axis=1))
    return _Target(view=view, rows=rows, distance=distance, random=random)


def _by_closeness(targets: Sequence[_Target]) -> np.ndarray:
    """Anchor rows of the galaxies that most surveys have, those with the closest images first."""
    relative = np.stack([t.distance / max(np.median(t.random), 1e-12) for t in targets])
    seen = np.isfinite(relative).sum(0)
    galaxies = np.flatnonzero(seen == seen.max())
    return np.asarray(galaxies[np.argsort(np.nanmean(relative[:, galaxies], 0))])


def _brighter_half(index: LatentIndex, anchor: _View, galaxies: np.ndarray) -> np.ndarray:
    """Anchor rows of galaxies above the median brightness, brightest first; flagged ones last."""
    some = np.random.default_rng(_SEED).permutation(galaxies)[:_CANDIDATES]
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
    anchor: _View, targets: Sequence[_Target], galaxies: np.ndarray
) -> list[tuple[_Picture, ...]]:
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


def _neighbours(
    index: LatentIndex, anchor: _View, targets: Sequence[_Target], galaxies: np.ndarray
) -> list[dict[str, Any]]:
    return [
        {"galaxy": picture, "groups": [_nearest(index, anchor, t, query) for t in targets]}
        for query, picture in zip(
            galaxies, anchor.pictures(galaxies, anchor.ids[galaxies]), strict=True
        )
    ]


def _nearest(index: LatentIndex, anchor: _View, target: _Target, query: int) -> dict[str, Any]:
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


def _outliers(index: LatentIndex, view: _View) -> list[_Picture]:
    found = index.outliers(view.name, OUTLIERS)
    scores, flags = found["outlier_score"].to_pylist(), found["flags"].to_pylist()
    captions = [f"{score:.2f} · {_words(bits)}" for score, bits in zip(scores, flags, strict=True)]
    return view.pictures(row_numbers(view.sample, found["object_id"]), captions)


def _words(flags: int) -> str:
    """Say `galaxy_da.tables.Flag` bits in words."""
    return ", ".join(str(flag.name).replace("_", " ").lower() for flag in Flag(flags)) or "no flags"


def _reconstructions(
    space: LatentSpace,
    index: LatentIndex,
    anchor: _View,
    targets: Sequence[_Target],
    galaxies: np.ndarray,
) -> list[tuple[str, tuple[tuple[_Picture, _Picture], ...]]]:
    """Each galaxy's id, and every survey's image with what its latents decode to."""
    shown = [(anchor, galaxies), *((t.view, t.rows[galaxies]) for t in targets)]
    columns = []
    for view, rows in shown:
        images = space.decode(index.vectors[view.in_index[rows]])
        colours = to_decals_colour(images, anchor.encoder.survey, space.frame.bands, space.frame)
        seen = view.pictures(rows, [""] * len(rows))
        made = [
            replace(picture, uri=picture.uri and uri, alt=f"{picture.alt}, decoded")
            for picture, uri in zip(seen, to_data_uris(colours), strict=True)
        ]
        columns.append(zip(seen, made, strict=True))
    return list(zip(anchor.ids[galaxies], zip(*columns, strict=True), strict=True))


def _chart(target: _Target) -> dict[str, Any]:
    """Histograms of same and random pairs on a common axis."""
    same = target.distance[np.isfinite(target.distance)]
    top = max(float(np.quantile(target.random, 0.97)), float(np.quantile(same, 0.95)), 1e-12)
    edges = np.linspace(0, top, _BINS + 1)
    step = 10 ** np.floor(np.log10(top / 2))
    step *= 1 if top < 5 * step else 2 if top < 10 * step else 5
    return {
        "polygons": histogram([target.random, same], edges, *_CHART),
        "size": _CHART,
        "ticks": [(tick, tick / top * _CHART[0]) for tick in np.arange(0, top, step)],
        "pairs": len(same),
        "medians": (float(np.median(same)), float(np.median(target.random))),
    }
