"""Run a benchmark: one file per (seed, target, variant, method), then the tables.

A run that was stopped goes on: cells whose file is there are not repeated, nor is a sky that was
observed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from catalogs.scenes import ScenePool
from galaxy_da.errors import GalaxyDAError, TableError
from galaxy_da.files import ensure_folder, write_json
from galaxy_da.space import LatentSpace
from galaxy_da.storage import Location
from training.benchmark.ground import Ground, ground_of
from training.benchmark.measure import Latents, image_baselines, measure, measure_images
from training.benchmark.methods import CEILING, METHODS, learn
from training.benchmark.settings import BenchmarkSettings, Variant

__all__ = ["run_benchmark"]

_SETTINGS = "settings.json"


def run_benchmark(
    space: LatentSpace,
    settings: BenchmarkSettings,
    out: Path,
    *,
    scenes: Location | None = None,
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
    grounds: dict[tuple[int, str], Ground] = {}
    for seed, target, variant, method in tqdm(plan, desc="benchmark", disable=not progress):
        path = out / "cells" / f"{seed}-{target}-{variant.name}-{method}.json".replace(" ", "_")
        if not path.is_file():
            if (seed, target) not in grounds:
                grounds = {(seed, target): ground_of(space, settings, out, seed, target, pool)}
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
    out: Path, space: LatentSpace, settings: BenchmarkSettings, scenes: Location | None
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


def _cell(ground: Ground, variant: Variant, method: str) -> dict[str, Any]:
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


def _images(ground: Ground) -> dict[str, Any]:
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
