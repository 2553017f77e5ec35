"""How long adapting takes, and what it buys: ``python -m benchmarks.adaptation_speed``.

About 1,000 pairs of SDSS and DECaLS on one simulated sky, on all cores. Beside the clock's time
stands the processor's, on which other work of the machine tells less. Steps are those of either
training of `training.adaptation.run`.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.adaptation.methods import ADAPT, CEILING, Lesson, learn
from benchmarks.adaptation.settings import BenchmarkSettings, Variant
from benchmarks.adaptation.target_data import TargetData, load_target_data
from benchmarks.support.measuring import clocks
from benchmarks.support.tables import print_rows
from evaluation.retrieval import match_ranks
from galaxy_da.space import LatentSpace
from training.adaptation.candidates import CLOSED_FORMS, Training
from training.adaptation.paired_images import PairedImages

__all__ = ["speed_rows"]

_TARGET = "sdss"
_STEPS = (50, 100, 200, 400)


def speed_rows(galaxies: int = 1540, seed: int = 1) -> list[dict[str, Any]]:
    """Measure closed forms, adapting for some steps, and the seed's recipe.

    Parameters
    ----------
    galaxies : int
        Of the sky; the test part of it is the pool.
    seed : int
        Of the sky and the methods.

    Returns
    -------
    list of dict
        ``method``, ``pairs``, ``seconds`` by the clock and ``processor_seconds``, ``recall_at_1``
        with north up and ``turned``; and of the ceiling.
    """
    settings = BenchmarkSettings(seeds=(seed,), targets=(_TARGET,), galaxies=galaxies, pool=1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        target_data = load_target_data(
            LatentSpace.load("decals"), settings, Path(folder), seed, _TARGET, None
        )
        lesson = target_data.lesson(Variant())
        rows.append(_closed_forms(lesson))
        for method, steps in (
            ("seed-recipe", None),
            *((ADAPT, n) for n in _STEPS),
            (CEILING, None),
        ):
            rows.append(_row(target_data, lesson, method, steps))
    return rows


def _closed_forms(lesson: Lesson) -> dict[str, Any]:
    """Time all closed forms of `training.adaptation.run` together, which always run first."""
    began = clocks()
    space = lesson.space
    posterior = space.encode(lesson.anchor, space.encoder(space.anchor))
    here, there = (torch.from_numpy(side.copy()) for side in lesson.pairs.T)
    training = Training.of(
        PairedImages(
            space=space,
            encoder=lesson.encoder,
            anchor=lesson.anchor[here],
            target=lesson.target[there],
            mean=posterior.mean[here],
            variance=posterior.variance[here],
        )
    )
    for fit in CLOSED_FORMS.values():
        fit(training)
    return {"method": "all closed forms", "pairs": len(lesson.pairs), **_since(began)}


def _row(target_data: TargetData, lesson: Lesson, method: str, steps: int | None) -> dict[str, Any]:
    began = clocks()
    learned = learn(method, replace(lesson, steps=steps))
    seconds = _since(began)
    name = method if steps is None else f"{method}, {steps} steps"
    observations = target_data.repeats if method == CEILING else target_data.observations
    row = {"method": name, "pairs": len(lesson.pairs), **seconds}
    pool = learned.anchor(target_data.pool_images)
    for observation, sample in observations.items():
        found = learned.target(target_data.sky.images(sample, target_data.tested))
        some = learned.compared[observation]
        ranks = match_ranks(found[:, some].numpy(), pool[:, some].numpy())
        row[{"aligned": "recall_at_1", "rotated": "rotated"}[observation]] = float(
            (ranks == 1).mean()
        )
    return row


def _since(began: np.ndarray) -> dict[str, float]:
    seconds, of_cores = map(float, clocks() - began)
    return {"seconds": seconds, "processor_seconds": of_cores}


if __name__ == "__main__":
    print_rows(f"Adapting to {_TARGET}: seconds and recall@1", speed_rows())
