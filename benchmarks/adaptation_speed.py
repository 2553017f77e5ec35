"""Measure the time of adapting SDSS to DECaLS and its recall, by number of training steps.

``python -m benchmarks.adaptation_speed [--galaxies N] [--steps N ...]`` simulates one sky (about
1,000 pairs by default) and prints wall and processor time on all cores. Steps count for either
training of `training.adaptation.run`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.adaptation.methods import ADAPT, CEILING, TrainingSet, fit_method
from benchmarks.adaptation.settings import BenchmarkSettings, Variant
from benchmarks.adaptation.target_data import TargetData, load_target_data
from benchmarks.support.commands import command_parser
from benchmarks.support.measuring import clocks
from benchmarks.support.tables import print_rows
from evaluation.retrieval import match_ranks
from galaxy_da.space import LatentSpace

__all__ = ["speed_rows"]

_TARGET = "sdss"
_COMPARED = {"aligned": "all", "rotated": "galaxy"}
_STEPS = (0, 50, 100, 200, 400)


def speed_rows(
    galaxies: int = 1540, steps: Sequence[int] = _STEPS, seed: int = 1
) -> list[dict[str, Any]]:
    """Measure `adapt` with some numbers of steps, and Xu et al. (2023).

    Parameters
    ----------
    galaxies : int
        Galaxies of the sky; its test part is the pool.
    steps : sequence of int
        Numbers of fine-tuning steps; 0 leaves closed forms alone.
    seed : int
        Seed of the sky and the methods.

    Returns
    -------
    list of dict
        ``method``, ``pairs``, ``seconds``, ``processor_seconds``, ``recall_at_1`` with north up
        and ``rotated``, the same of rotated observations.
    """
    settings = BenchmarkSettings(seeds=(seed,), targets=(_TARGET,), galaxies=galaxies, pool=1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        target_data = load_target_data(
            LatentSpace.load("decals"), settings, Path(folder), seed, _TARGET, None
        )
        training_set = target_data.training_set(Variant())
        for method, number in (
            ("xu2023", None),
            *((ADAPT, n) for n in steps),
            (CEILING, None),
        ):
            rows.append(_row(target_data, training_set, method, number))
    return rows


def _row(
    target_data: TargetData, training_set: TrainingSet, method: str, steps: int | None
) -> dict[str, Any]:
    began = clocks()
    fitted = fit_method(method, replace(training_set, steps=steps))
    seconds = _since(began)
    name = method if steps is None else f"{method}, {steps} steps"
    observations = target_data.repeats if method == CEILING else target_data.observations
    row = {"method": name, "pairs": len(training_set.pairs), **seconds}
    pool = fitted.anchor(target_data.pool_inputs)
    for observation, sample in observations.items():
        found = fitted.target(target_data.sky.inputs(sample, target_data.test_galaxies))
        some = fitted.compared[_COMPARED[observation]]
        ranks = match_ranks(found[:, some].numpy(), pool[:, some].numpy())
        row[{"aligned": "recall_at_1", "rotated": "rotated"}[observation]] = float(
            (ranks == 1).mean()
        )
    return row


def _since(began: np.ndarray) -> dict[str, float]:
    seconds, of_cores = map(float, clocks() - began)
    return {"seconds": seconds, "processor_seconds": of_cores}


def main() -> None:
    """Print the table."""
    parser = command_parser("adaptation_speed", __doc__)
    parser.add_argument("--galaxies", type=int, default=1540)
    parser.add_argument("--steps", nargs="+", type=int, default=_STEPS)
    given = parser.parse_args()
    rows = speed_rows(given.galaxies, given.steps)
    print_rows(f"Adapting {_TARGET}: seconds and recall@1", rows)


if __name__ == "__main__":
    main()
