"""Every way of adapting behind one call, so that one function measures them all.

Each is given the same pairs; the anchor's network, frozen elsewhere, moves in one of them (SIDDA),
so a method brings a map of its own for the anchor too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from benchmarks.baselines import (
    AdaptationData,
    Baseline,
    CoralMap,
    PixelPCA,
    Procrustes,
    Sidda,
    every_baseline,
)
from galaxy_da.errors import CatalogError
from galaxy_da.images.preparation import Frame
from galaxy_da.io.files import ensure_folder
from galaxy_da.io.tables import Sample, write_table
from galaxy_da.space import LatentSpace, SurveyEncoder
from training.adaptation.fine_tuning import FineTuningSettings
from training.adaptation.run import adapt

__all__ = ["ADAPT", "CEILING", "METHODS", "Learned", "Lesson", "learn"]

ADAPT, CEILING = "adapt", "ceiling"
_BASELINES: dict[str, Baseline] = {baseline.name: baseline for baseline in every_baseline()}

METHODS = (*_BASELINES, ADAPT)
"""Names of all methods, the quick ones first."""

_MIXING = {CoralMap.name, Procrustes.name}
_PIXELS = {PixelPCA.name}
_MOVING = {Sidda.name}


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a method may learn from.

    Attributes
    ----------
    space : LatentSpace
        With the anchor alone.
    encoder : SurveyEncoder
        The target's un-adapted encoder.
    anchor, target : (n, bands, y, x) and (m, planes, y, x) float tensors
        Prepared images outside the test part of the sky.
    anchor_radec, target_radec : (n, 2) and (m, 2) float arrays
        Their positions [ICRS deg].
    pairs : (k, 2) int array
        Rows of `anchor` and `target` that are said to be the same galaxy.
    seed : int
        Of all draws.
    steps : int, optional
        Most refining steps of `training.adaptation.run`.
    """

    space: LatentSpace
    encoder: SurveyEncoder
    anchor: Tensor
    target: Tensor
    anchor_radec: np.ndarray
    target_radec: np.ndarray
    pairs: np.ndarray
    seed: int
    steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A fitted method.

    Attributes
    ----------
    anchor, target : callable
        Prepared images to (n, d) float tensors.
    compared : dict of str to slice
        Which of them are compared, by look; see `benchmarks.adaptation.measure.Latents`.
    columns : sequence of int, optional
        Where `anchor` gives the space's own latents: which, in order.
    decodable : callable, optional
        Target images to all latents of the frozen decoder, where the method has those.
    record : dict
        How it went.
    """

    anchor: Callable[[Tensor], Tensor]
    target: Callable[[Tensor], Tensor]
    compared: Mapping[str, slice]
    columns: tuple[int, ...] | None = None
    decodable: Callable[[Tensor], Tensor] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


def learn(method: str, lesson: Lesson) -> Learned:
    """Fit one of `METHODS`, or the ceiling, whose target is the anchor survey itself.

    Raises
    ------
    ValueError
        If the method is unknown.
    CatalogError
        If it needs pairs and there are none, or too few.
    """
    if method == CEILING:
        return _of_space(lesson.space, lesson.space.encoder(lesson.space.anchor))
    if method == ADAPT:
        return _adapted(lesson)
    if method not in _BASELINES:
        raise ValueError(f"method {method!r} is not one of {', '.join(METHODS)}")
    return _baseline(_BASELINES[method], lesson)


def _of_space(space: LatentSpace, encoder: SurveyEncoder) -> Learned:
    """Read images through encoders of a space."""

    def target(images: Tensor) -> Tensor:
        return space.encode(images, encoder).mean

    return Learned(
        anchor=lambda images: space.encode(images, space.anchor).mean,
        target=target,
        compared={"aligned": slice(None), "rotated": slice(space.galaxy_latents)},
        columns=tuple(range(space.architecture.latents)),
        decodable=target,
        record=encoder.record,
    )


def _baseline(baseline: Baseline, lesson: Lesson) -> Learned:
    """Fit a baseline: to the pairs, or to all images where it makes no use of pairs.

    What mixes latents is fitted twice, to those of the galaxy alone for turned looks.
    """
    paired = baseline.needs_pairs
    if paired and len(lesson.pairs) < 2:
        raise CatalogError(f"{baseline.name}: needs pairs but is given {len(lesson.pairs)}")
    rows = lesson.pairs.T if paired else map(np.arange, map(len, (lesson.anchor, lesson.target)))
    here, there = (torch.from_numpy(np.ascontiguousarray(side)) for side in rows)
    galaxy, latents = lesson.space.galaxy_latents, lesson.space.architecture.latents
    data = AdaptationData(
        space=lesson.space,
        encoder=lesson.encoder,
        anchor_images=lesson.anchor[here],
        target_images=lesson.target[there],
        paired=paired,
        seed=lesson.seed,
        galaxy=slice(None),
    )
    twice = baseline.name in _MIXING and galaxy < latents
    try:
        fits = [baseline.fit(data)]
        if twice:
            fits.insert(0, baseline.fit(replace(data, galaxy=slice(galaxy))))
    except ValueError as error:
        raise CatalogError(f"{baseline.name}: {error}") from error

    def joined(maps: Sequence[Callable[[Tensor], Tensor]]) -> Callable[[Tensor], Tensor]:
        return lambda images: torch.cat([encode(images) for encode in maps], 1)

    pixels = baseline.name in _PIXELS
    own = baseline.name not in _MOVING and not pixels
    columns = (*range(galaxy), *range(latents)) if twice else tuple(range(latents))
    return Learned(
        anchor=joined([fit.anchor for fit in fits]),
        target=joined([fit.target for fit in fits]),
        compared={
            "aligned": slice(galaxy, None) if twice else slice(None),
            "rotated": slice(None) if pixels else slice(galaxy),
        },
        columns=columns if own else None,
        decodable=fits[-1].target if own else None,
        record=fits[-1].record,
    )


def _adapted(lesson: Lesson) -> Learned:
    """Run `training.adaptation.run` on sample tables, as a user does."""
    space, survey = lesson.space, lesson.encoder.survey
    own = space.encoder(space.anchor)
    settings = None if lesson.steps is None else FineTuningSettings(steps=lesson.steps)
    with TemporaryDirectory() as folder:
        anchor, target = (
            _sample(Path(folder) / side, encoder, images, radec, space.frame)
            for side, encoder, images, radec in (
                ("anchor", own, lesson.anchor, lesson.anchor_radec),
                ("target", lesson.encoder, lesson.target, lesson.target_radec),
            )
        )
        adapted = adapt(
            space,
            anchor,
            target,
            _pair_table(lesson.pairs, anchor, target) if len(lesson.pairs) else None,
            survey=survey,
            settings=settings,
            seed=lesson.seed,
        )
    new = adapted.encoder(survey.name)
    if new.bands != lesson.encoder.bands:
        raise CatalogError(
            f"{survey.name}: adapted to read bands {', '.join(new.bands)} but the images carry "
            f"{', '.join(lesson.encoder.bands)}"
        )
    return _of_space(adapted, new)


def _sample(
    folder: Path, encoder: SurveyEncoder, images: Tensor, radec: np.ndarray, frame: Frame
) -> Sample:
    """Write prepared images as cutouts in the frame's pixels, which preparing leaves as they are.

    The flux is the survey's, so that `galaxy_da.images.preparation.prepare` returns these
    images to rounding.
    """
    survey, scale = encoder.survey, frame.pixel_scale_arcsec
    softening = [frame.softening_at(survey.band(band).wavelength_nm) for band in encoder.bands]
    area = (survey.flux_pixel_scale_arcsec or scale) ** 2
    factor = images.new_tensor(softening)[:, None, None] * area / survey.nanomaggy_per_unit
    ensure_folder(folder)
    np.save(folder / "cutouts.npy", (torch.sinh(images) * factor).numpy())
    n = len(images)
    catalogue = {
        "object_id": [f"{survey.name}-{i:06d}" for i in range(n)],
        "survey": [survey.name] * n,
        "ra": radec[:, 0],
        "dec": radec[:, 1],
        "bands": [",".join(encoder.bands)] * n,
        "pixel_scale_arcsec": np.full(n, scale),
        "cutout": [f"cutouts.npy#{i}" for i in range(n)],
    }
    write_table(pa.table(catalogue), folder / "sample.parquet")
    return Sample(folder / "sample.parquet")


def _pair_table(pairs: np.ndarray, anchor: Sample, target: Sample) -> pa.Table:
    n = len(pairs)
    return pa.table(
        {
            "anchor_id": anchor.catalog["object_id"].take(pa.array(pairs[:, 0])),
            "target_id": target.catalog["object_id"].take(pa.array(pairs[:, 1])),
            "separation_arcsec": np.zeros(n),
            "n_candidates": np.ones(n, np.int32),
            "ambiguous": np.zeros(n, bool),
        }
    )
