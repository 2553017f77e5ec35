"""Run the adaptation benchmark: one result file per seed, target, variant and method.

A stopped run resumes: existing results and simulated skies are kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.adaptation.measure import Latents, measure
from benchmarks.adaptation.methods import (
    ADAPT,
    BY_DEFINITION,
    CEILING,
    METHODS,
    RIGHT,
    fit_method,
)
from benchmarks.adaptation.settings import BenchmarkSettings, Variant
from benchmarks.adaptation.target_data import TargetData, load_target_data
from catalogs.simulation.scenes import ScenePool
from galaxy_da.errors import GalaxyDAError, TableError
from galaxy_da.io.files import ensure_folder, write_json
from galaxy_da.io.storage import Location
from galaxy_da.space import LatentSpace

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
        Space to adapt; its encoders of other surveys are not used.
    settings : BenchmarkSettings
        Skies, targets and methods to measure.
    out : Path
        Folder for results, ``results/*.json``, and skies, ``sky-SEED``, which may be deleted.
    scenes : Path, optional
        Sample table of real images to simulate from; train and test skies use different ones.
    progress : bool
        Show progress on stderr.

    Returns
    -------
    list of dict
        All results, for `benchmarks.adaptation.tables`.

    Raises
    ------
    TableError
        If `out` holds results of other skies or another space.
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
    results: list[dict[str, Any]] = []
    target_data_sets: dict[tuple[int, str], TargetData] = {}
    for seed, target, variant, method in tqdm(plan, desc="benchmark", disable=not progress):
        path = out / "results" / f"{seed}-{target}-{variant.name}-{method}.json".replace(" ", "_")
        if not path.is_file():
            if (seed, target) not in target_data_sets:
                target_data_sets = {
                    (seed, target): load_target_data(space, settings, out, seed, target, pool)
                }
            write_json(path, _result(target_data_sets[seed, target], variant, method))
        results.append(json.loads(path.read_text(encoding="utf-8")))
    return results


def _plan(
    settings: BenchmarkSettings, methods: tuple[str, ...]
) -> Iterator[tuple[int, str, Variant, str]]:
    for seed in settings.seeds:
        for target in settings.by_name:
            every = (CEILING, RIGHT, BY_DEFINITION) if settings.wrong else (CEILING,)
            planned = [(Variant(), method) for method in every]
            if not settings.wrong:
                planned += [(Variant(), method) for method in methods]
            if ADAPT in methods:
                planned += [(variant, ADAPT) for variant in settings.fewer()]
            for variant, method in dict.fromkeys(planned):
                yield seed, target, variant, method


def _check_settings(
    out: Path, space: LatentSpace, settings: BenchmarkSettings, scenes: Location | None
) -> None:
    """Refuse a folder made with other settings."""
    fixed = settings.model_dump(include={"galaxies", "pool", "small_pool", "most_pairs", "steps"})
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


def _result(target_data: TargetData, variant: Variant, method: str) -> dict[str, Any]:
    """Fit and measure one method; record the error of one that cannot learn from these pairs."""
    training_set = target_data.training_set(variant)
    result: dict[str, Any] = {
        "seed": target_data.sky.seed,
        "target": target_data.target.name,
        "variant": variant.name,
        "method": method,
        "pairs": len(training_set.pairs),
        "tested": len(target_data.test_galaxies),
        "pool": len(target_data.pool_inputs),
    }
    start = time.perf_counter()
    try:
        if method == RIGHT:
            training_set = replace(training_set, encoder=target_data.right_encoder)
        fitted = fit_method(method, training_set)
    except GalaxyDAError as error:
        return {**result, "error": str(error)}
    result["seconds"] = time.perf_counter() - start
    result["record"] = _plain(dict(fitted.record))
    pool, classifier = (
        target_data.pool_latents(fitted) if fitted.moves_anchor else target_data.anchor_latents
    )
    sky, rows = target_data.sky, target_data.test_galaxies
    own = {CEILING: target_data.repeats, RIGHT: target_data.described}
    names = own.get(method, target_data.observations)
    tested = {observation: sky.inputs(name, rows) for observation, name in names.items()}
    others = sky.inputs(
        sky.anchor.name if method == CEILING else names["aligned"], target_data.training_galaxies
    )
    latents = Latents(
        pool=pool,
        observations={
            observation: fitted.target(inputs).numpy() for observation, inputs in tested.items()
        },
        others=fitted.target(others).numpy(),
        compared=fitted.compared,
    )
    result |= measure(latents, target_data.held_out, classifier)
    return result


def _plain(record: Any) -> Any:
    """Return a record as JSON values."""
    return json.loads(json.dumps(record, default=float))
