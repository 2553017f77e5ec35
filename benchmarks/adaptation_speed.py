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

from benchmarks.adaptation.methods import ADAPT, CEILING, TrainingSet, fit_method
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
        training_set = target_data.training_set(Variant())
        rows.append(_closed_forms(training_set))
        for method, steps in (
            ("xu2023", None),
            *((ADAPT, n) for n in _STEPS),
            (CEILING, None),
        ):
            rows.append(_row(target_data, training_set, method, steps))
    return rows


def _closed_forms(training_set: TrainingSet) -> dict[str, Any]:
    """Time all closed forms of `training.adaptation.run` together, which always run first."""
    began = clocks()
    space = training_set.space
    posterior = space.encode(training_set.anchor, space.encoder(space.anchor))
    here, there = (torch.from_numpy(side.copy()) for side in training_set.pairs.T)
    training = Training.of(
        PairedImages(
            space=space,
            encoder=training_set.encoder,
            anchor=training_set.anchor[here],
            target=training_set.target[there],
            mean=posterior.mean[here],
            variance=posterior.variance[here],
        )
    )
    for fit in CLOSED_FORMS.values():
        fit(training)
    return {"method": "all closed forms", "pairs": len(training_set.pairs), **_since(began)}


def _row(
    target_data: TargetData, training_set: TrainingSet, method: str, steps: int | None
) -> dict[str, Any]:
    began = clocks()
    fitted = fit_method(method, replace(training_set, steps=steps))
    seconds = _since(began)
    name = method if steps is None else f"{method}, {steps} steps"
    observations = target_data.repeats if method == CEILING else target_data.observations
    row = {"method": name, "pairs": len(training_set.pairs), **seconds}
    pool = fitted.anchor(target_data.pool_images)
    for observation, sample in observations.items():
        found = fitted.target(target_data.sky.images(sample, target_data.test_galaxies))
        some = fitted.compared[observation]
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
