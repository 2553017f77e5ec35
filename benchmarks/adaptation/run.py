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

from benchmarks.adaptation.measure import Latents, image_baselines, measure, measure_images
from benchmarks.adaptation.methods import CEILING, METHODS, learn
from benchmarks.adaptation.settings import BenchmarkSettings, Variant
from benchmarks.adaptation.target_data import TargetData, load_target_data
from catalogs.simulation.scenes import ScenePool
from galaxy_da.errors import GalaxyDAError, TableError
from galaxy_da.io.files import ensure_folder, write_json
from galaxy_da.io.storage import Location
from galaxy_da.space import LatentSpace

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
        All cells; `benchmarks.adaptation.tables` makes tables of them.

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
    target_data_sets: dict[tuple[int, str], TargetData] = {}
    for seed, target, variant, method in tqdm(plan, desc="benchmark", disable=not progress):
        path = out / "cells" / f"{seed}-{target}-{variant.name}-{method}.json".replace(" ", "_")
        if not path.is_file():
            if (seed, target) not in target_data_sets:
                target_data_sets = {
                    (seed, target): load_target_data(space, settings, out, seed, target, pool)
                }
            write_json(path, _cell(target_data_sets[seed, target], variant, method))
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


def _cell(target_data: TargetData, variant: Variant, method: str) -> dict[str, Any]:
    """Fit and measure one method; a method that cannot learn from these pairs says why."""
    lesson = target_data.lesson(variant)
    cell: dict[str, Any] = {
        "seed": target_data.sky.seed,
        "target": target_data.survey.name,
        "variant": variant.name,
        "method": method,
        "pairs": len(lesson.pairs),
        "tested": len(target_data.tested),
        "pool": len(target_data.pool_images),
    }
    start = time.perf_counter()
    if method == "images":
        return {**cell, "images": _images(target_data), "seconds": time.perf_counter() - start}
    try:
        learned = learn(method, lesson)
    except GalaxyDAError as error:
        return {**cell, "error": str(error)}
    cell["seconds"] = time.perf_counter() - start
    cell["record"] = _plain(dict(learned.record))
    if learned.columns is None:
        pool, classifier = target_data.of_anchor(learned)
    else:
        whole, classifier = target_data.frozen
        pool = whole[:, learned.columns]
    names = target_data.repeats if method == CEILING else target_data.observations
    tested = {
        observation: target_data.sky.images(name, target_data.tested)
        for observation, name in names.items()
    }
    others = target_data.sky.images(
        target_data.sky.anchor.name if method == CEILING else target_data.survey.name,
        target_data.taught,
    )
    latents = Latents(
        pool=pool,
        observations={
            observation: learned.target(images).numpy() for observation, images in tested.items()
        },
        others=learned.target(others).numpy(),
        compared=learned.compared,
    )
    cell |= measure(latents, target_data.exam, classifier)
    if learned.decodable is not None:
        drawn = target_data.space.decode(learned.decodable(tested["aligned"]))
        reference = target_data.sky.images(target_data.sky.anchor.name, target_data.tested)
        cell["denoising"] = measure_images(
            drawn, reference, target_data.space.frame, target_data.sky.seed
        )
    return cell


def _images(target_data: TargetData) -> dict[str, Any]:
    """Measure the target's images beside the anchor's, without latents."""
    name, held = target_data.survey.name, target_data.rows("validation")
    return image_baselines(
        target_data.in_frame_bands(target_data.sky.images(name, target_data.tested)),
        target_data.sky.images(target_data.sky.anchor.name, target_data.tested),
        (
            target_data.in_frame_bands(target_data.sky.images(name, held)),
            target_data.sky.images(target_data.sky.anchor.name, held),
        ),
        target_data.anchor_images("train"),
        target_data.space.frame,
        target_data.space.architecture.latents,
        target_data.sky.seed,
    )


def _plain(record: Any) -> Any:
    """Return a record as values JSON can hold."""
    return json.loads(json.dumps(record, default=float))
