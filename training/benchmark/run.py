"""Run a benchmark: one file per (seed, target, variant, method), then the tables.

A run that was stopped goes on: cells whose file is there are not repeated, nor is a sky that was
observed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from catalogs.scenes import ScenePool
from evaluation.transfer import MorphologyClassifier
from galaxy_da.errors import GalaxyDAError, TableError
from galaxy_da.files import ensure_folder, write_json
from galaxy_da.images import pick_bands
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey
from training.benchmark.measure import Exam, Latents, image_baselines, measure, measure_images
from training.benchmark.methods import CEILING, METHODS, Learned, Lesson, learn
from training.benchmark.settings import BenchmarkSettings, Variant
from training.benchmark.sky import BenchmarkSky

__all__ = ["run_benchmark"]

_SETTINGS = "settings.json"
_FEWEST_TESTED = 20


def run_benchmark(
    space: LatentSpace,
    settings: BenchmarkSettings,
    out: Path,
    *,
    scenes: Path | None = None,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Measure every method on every target, sky and variant.

    Parameters
    ----------
    space : LatentSpace
        The anchor that is adapted from; encoders of other surveys in it are not used.
    settings : BenchmarkSettings
        What to measure.
    out : Path
        Folder of the cells, ``cells/*.json``, and of the skies, ``sky-SEED``, which may be deleted.
    scenes : Path, optional
        Sample table of real images to use as galaxies; train and test skies show different ones.
    progress : bool
        Show bars on stderr.

    Returns
    -------
    list of dict
        All cells; `training.benchmark.tables` makes tables of them.

    Raises
    ------
    TableError
        If `out` holds a benchmark of other skies or another space.
    ValueError
        If a method is unknown.
    """
    methods = settings.methods or METHODS
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise ValueError(f"unknown methods {', '.join(unknown)}; there are {', '.join(METHODS)}")
    ensure_folder(out)
    _check_settings(out, space, settings, scenes)
    pool = None if scenes is None else ScenePool.open(scenes)
    plan = list(_plan(settings, methods))
    cells: list[dict[str, Any]] = []
    grounds: dict[tuple[int, str], _Ground] = {}
    for seed, target, variant, method in tqdm(plan, desc="benchmark", disable=not progress):
        path = out / "cells" / f"{seed}-{target}-{variant.name}-{method}.json".replace(" ", "_")
        if not path.is_file():
            if (seed, target) not in grounds:
                grounds = {(seed, target): _ground(space, settings, out, seed, target, pool)}
            write_json(path, _cell(grounds[seed, target], variant, method))
        cells.append(json.loads(path.read_text(encoding="utf-8")))
    return cells


def _plan(
    settings: BenchmarkSettings, methods: tuple[str, ...]
) -> Iterator[tuple[int, str, Variant, str]]:
    for seed in settings.seeds:
        for target in settings.surveys:
            for variant in settings.variants(target):
                first = (CEILING, "images") if variant == Variant() else ()
                for method in (*first, *methods):
                    yield seed, target, variant, method


def _check_settings(
    out: Path, space: LatentSpace, settings: BenchmarkSettings, scenes: Path | None
) -> None:
    """Refuse a folder whose cells or skies would not be comparable."""
    fixed = settings.model_dump(include={"galaxies", "pool", "small_pool", "steps"})
    held = {**fixed, "space": space.id, "scenes": None if scenes is None else scenes.name}
    path = out / _SETTINGS
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        different = [name for name, value in held.items() if found.get(name) != value]
        if different:
            raise TableError(
                f"{out}: holds a benchmark with another {', '.join(different)}; choose another "
                "output, or the same settings"
            )
    else:
        write_json(path, held)


@dataclass(frozen=True)
class _Ground:
    """One target on one sky, with what its cells share."""

    space: LatentSpace
    survey: Survey
    sky: BenchmarkSky
    settings: BenchmarkSettings

    @cached_property
    def encoder(self) -> SurveyEncoder:
        return self.space.unadapted(self.survey, self.sky.bands(self.survey), every_band=True)

    @property
    def looks(self) -> dict[str, str]:
        return {"aligned": self.survey.name, "turned": f"{self.survey.name}-turned"}

    @property
    def repeats(self) -> dict[str, str]:
        anchor = self.sky.anchor.name
        return {"aligned": f"{anchor}-repeat", "turned": f"{anchor}-repeat-turned"}

    def rows(self, part: str) -> np.ndarray:
        """Galaxies of a part with good images: in the test part, in every look."""
        names = [self.sky.anchor.name, self.survey.name]
        if part == "test":
            names = [self.sky.anchor.name, *self.looks.values(), *self.repeats.values()]
        good = np.all([self.sky.usable(name) for name in names], axis=0)
        return np.flatnonzero((self.sky.part == part) & good)

    @cached_property
    def tested(self) -> np.ndarray:
        return self.rows("test")

    @cached_property
    def taught(self) -> np.ndarray:
        """Galaxies outside the test part."""
        return np.sort(np.concatenate([self.rows("train"), self.rows("validation")]))

    @cached_property
    def fillers(self) -> np.ndarray:
        good = np.flatnonzero(self.sky.usable("fillers")) if self.sky.fillers else np.zeros(0, int)
        return good[: max(self.settings.pool - len(self.tested), 0)]

    @cached_property
    def exam(self) -> Exam:
        truth = self.sky.truth.take(self.tested)
        others = self.sky.filler_truth.take(self.fillers)
        properties = [
            np.concatenate([table[name].to_numpy() for table in (truth, others)])
            for name in ("r_mag", "half_light_arcsec", "g_minus_r")
        ]
        properties[1] = np.log10(properties[1])
        psf = self.sky.psf_fwhm_arcsec(self.survey.name)[self.tested]
        return Exam(
            properties=np.stack(properties, axis=1),
            ra=truth["ra"].to_numpy(),
            dec=truth["dec"].to_numpy(),
            size_over_psf=truth["half_light_arcsec"].to_numpy() / psf,
            labels=None if self.labels is None else self.labels[self.tested],
            small_pool=self.settings.small_pool,
            seed=self.sky.seed,
        )

    @cached_property
    def pool_images(self) -> Tensor:
        own = self.sky.images(self.sky.anchor.name, self.tested)
        if not len(self.fillers):
            return own
        return torch.cat([own, self.sky.images("fillers", self.fillers)])

    def anchor_images(self, part: str) -> Tensor:
        return self.sky.images(self.sky.anchor.name, self.rows(part))

    def in_frame_bands(self, images: Tensor) -> Tensor:
        bands = self.encoder.bands
        nearest = pick_bands(self.survey, bands, self.space.frame)
        return images[:, [bands.index(name) for name in nearest]]

    @cached_property
    def labels(self) -> np.ndarray | None:
        """Morphology of every galaxy; real scenes have none."""
        if "label" not in self.sky.truth.column_names:
            return None
        return np.asarray(self.sky.truth["label"])

    @cached_property
    def frozen(self) -> tuple[np.ndarray, MorphologyClassifier | None]:
        """What `of_anchor` gives for the space's own anchor, which most methods share."""
        return self.of_anchor(learn(CEILING, self.lesson(Variant())))

    def of_anchor(self, learned: Learned) -> tuple[np.ndarray, MorphologyClassifier | None]:
        """Latents of the pool, and a classifier of the training galaxies' latents."""
        pool = learned.anchor(self.pool_images).numpy()
        if self.labels is None:
            return pool, None
        rows = self.rows("train")
        known = learned.anchor(self.anchor_images("train"))[:, learned.compared["turned"]].numpy()
        return pool, MorphologyClassifier(known, self.labels[rows], self.sky.seed)

    def lesson(self, variant: Variant) -> Lesson:
        """Return what a variant lets a method learn from."""
        taught, rng = self.taught, np.random.default_rng(self.sky.seed)
        here = there = np.arange(len(taught))
        pairs = np.stack([here, there], axis=1)
        if variant.pairs == 0:  # no galaxy is in both samples
            here, there = np.array_split(rng.permutation(len(taught)), 2)
            pairs = pairs[:0]
        elif variant.pairs is not None:
            chosen = rng.permutation(len(taught))[: variant.pairs]
            pairs = pairs[np.sort(chosen)]
        if variant.wrong:
            spoiled = rng.permutation(len(pairs))[: max(2, round(variant.wrong * len(pairs)))]
            pairs[spoiled, 1] = pairs[np.roll(spoiled, 1), 1]
        radec = np.stack([self.sky.truth[name].to_numpy()[taught] for name in ("ra", "dec")], 1)
        return Lesson(
            space=self.space,
            encoder=self.encoder,
            anchor=self.sky.images(self.sky.anchor.name, taught[here]),
            target=self.sky.images(self.survey.name, taught[there]),
            anchor_radec=radec[here],
            target_radec=radec[there],
            pairs=pairs,
            seed=self.sky.seed,
            steps=self.settings.steps,
        )


def _ground(
    space: LatentSpace,
    settings: BenchmarkSettings,
    out: Path,
    seed: int,
    target: str,
    scenes: ScenePool | None,
) -> _Ground:
    survey = settings.surveys[target]
    sky = BenchmarkSky(
        out / f"sky-{seed}",
        space.survey(space.anchor),
        space.frame,
        settings.galaxies,
        max(settings.pool - settings.galaxies // 5, 0),
        seed,
        scenes,
    )
    sky.observe([survey])
    ground = _Ground(space, survey, sky, settings)
    if len(ground.tested) < _FEWEST_TESTED:
        raise TableError(
            f"only {len(ground.tested)} of {settings.galaxies} galaxies can be tested on, at least "
            f"{_FEWEST_TESTED} are needed; ask for more galaxies"
        )
    return ground


def _cell(ground: _Ground, variant: Variant, method: str) -> dict[str, Any]:
    """Fit and measure one method; a method that cannot learn from these pairs says why."""
    lesson = ground.lesson(variant)
    cell: dict[str, Any] = {
        "seed": ground.sky.seed,
        "target": ground.survey.name,
        "variant": variant.name,
        "method": method,
        "pairs": len(lesson.pairs),
        "tested": len(ground.tested),
        "pool": len(ground.pool_images),
    }
    start = time.perf_counter()
    if method == "images":
        return {**cell, "images": _images(ground), "seconds": time.perf_counter() - start}
    try:
        learned = learn(method, lesson)
    except GalaxyDAError as error:
        return {**cell, "error": str(error)}
    cell["seconds"] = time.perf_counter() - start
    cell["record"] = _plain(dict(learned.record))
    if learned.columns is None:
        pool, classifier = ground.of_anchor(learned)
    else:
        whole, classifier = ground.frozen
        pool = whole[:, learned.columns]
    names = ground.repeats if method == CEILING else ground.looks
    tested = {look: ground.sky.images(name, ground.tested) for look, name in names.items()}
    others = ground.sky.images(
        ground.sky.anchor.name if method == CEILING else ground.survey.name, ground.taught
    )
    latents = Latents(
        pool=pool,
        looks={look: learned.target(images).numpy() for look, images in tested.items()},
        others=learned.target(others).numpy(),
        compared=learned.compared,
    )
    cell |= measure(latents, ground.exam, classifier)
    if learned.decodable is not None:
        drawn = ground.space.decode(learned.decodable(tested["aligned"]))
        reference = ground.sky.images(ground.sky.anchor.name, ground.tested)
        cell["denoising"] = measure_images(drawn, reference, ground.space.frame, ground.sky.seed)
    return cell


def _images(ground: _Ground) -> dict[str, Any]:
    """Measure the target's images beside the anchor's, without latents."""
    name, held = ground.survey.name, ground.rows("validation")
    return image_baselines(
        ground.in_frame_bands(ground.sky.images(name, ground.tested)),
        ground.sky.images(ground.sky.anchor.name, ground.tested),
        (
            ground.in_frame_bands(ground.sky.images(name, held)),
            ground.sky.images(ground.sky.anchor.name, held),
        ),
        ground.anchor_images("train"),
        ground.space.frame,
        ground.space.architecture.latents,
        ground.sky.seed,
    )


def _plain(record: Any) -> Any:
    """Return a record as values JSON can hold."""
    return json.loads(json.dumps(record, default=float))
