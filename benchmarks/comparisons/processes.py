"""Compare training in several processes with training in one, beside the spread of seeds.

``python -m benchmarks.comparisons.processes --out DIR`` runs `pretrain` (a smaller recipe
``decals-legacy``, one sky a seed) and `adapt` (the shipped space, one sky) in one process and under
``torchrun``. It prints a table of each. A stopped run resumes from the finished runs in the folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.commands import command_parser
from benchmarks.support.measuring import clocks
from benchmarks.support.tables import print_rows
from galaxy_da.io.files import ensure_folder, write_json
from training.pretraining.recipe import Recipe, load_recipe

__all__ = ["Measured", "command", "compare_with_one_process", "recipe_toml", "small_recipe"]

Measured = dict[str, float]
"""Figures of a run by name."""

_RECIPE = "decals-legacy"
_SKY_SEED = 1
_METRICS = ("reconstruction", "kl_nat")
_SCORES = ("mean_reciprocal_rank", "recall_at_1")
_TRAINED = ("fine-tuned",)
_TIMES = ("time_s", "cpu_s")


def compare_with_one_process(runs: Mapping[tuple[int, int], Measured]) -> Iterator[dict[str, Any]]:
    """Compare runs in several processes with runs in one.

    Parameters
    ----------
    runs : dict
        Runs by number of processes, 1 among them, and seed.

    Yields
    ------
    dict
        ``figure``, ``processes``, ``mean`` and ``spread`` (standard deviation) over seeds, and
        ``largest_difference`` from one process with the same seed.
    """
    for figure in next(iter(runs.values())):
        for processes in sorted({number for number, _ in runs}):
            found = {
                seed: run[figure] for (number, seed), run in runs.items() if number == processes
            }
            values = list(found.values())
            differences = [abs(value - runs[1, seed][figure]) for seed, value in found.items()]
            yield {
                "figure": figure,
                "processes": processes,
                "mean": float(np.mean(values)),
                "spread": float(np.std(values, ddof=1)) if len(values) > 1 else np.nan,
                "largest_difference": max(differences),
            }


def small_recipe(galaxies: int, epochs: int, seed: int) -> Recipe:
    """Return the recipe ``decals-legacy`` with fewer galaxies and epochs, and batches of 32."""
    recipe = load_recipe(_RECIPE)
    return recipe.model_copy(
        update={
            "name": f"{_RECIPE}-small",
            "seed": seed,
            "sky": recipe.sky.model_copy(update={"galaxies": galaxies}),
            "optimiser": recipe.optimiser.model_copy(
                update={"epochs": epochs, "batch": 32, "warmup_steps": 20}
            ),
        }
    )


def command(processes: int, arguments: Sequence[str]) -> list[str]:
    """Return the command line that runs a verb in this number of processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [
        sys.executable,
        *(launcher if processes > 1 else ()),
        *("-m", "galaxy_da", *arguments, "--json"),
    ]


def _pretrained(folder: Path, processes: int, seed: int, epochs: int, galaxies: int) -> Measured:
    name = f"pretrain-{processes}-seed-{seed}"
    recipe = folder / f"small-seed-{seed}.toml"
    recipe.write_text(recipe_toml(small_recipe(galaxies, epochs, seed)), encoding="utf-8")
    arguments = ["pretrain", recipe, "--out", folder / name]
    done = _run(folder / f"{name}.json", processes, arguments)
    return {what: done[what] for what in (*_METRICS, *_TIMES)}


def _adapted(folder: Path, processes: int, seed: int, steps: int, galaxies: int) -> Measured:
    name, sky = f"adapt-{processes}-seed-{seed}", folder / "sky"
    drawn = ["simulate", "--surveys", "decals,sdss", "--n", galaxies, "--seed", _SKY_SEED]
    _run(folder / "sky.json", 1, [*drawn, "--out", sky])
    arguments = ["adapt", "--space", "decals", "--steps", steps, "--seed", seed]
    arguments += ["--anchor", sky / "decals" / "sample.parquet"]
    arguments += ["--target", sky / "sdss" / "sample.parquet"]
    arguments += ["--pairs", sky / "pairs-decals-sdss.parquet", "--out", folder / name]
    done = _run(folder / f"{name}.json", processes, arguments)
    trained = [who for who in _TRAINED if who in done]
    if not trained:
        raise SystemExit(f"{name}: too few pairs to train a network; raise --galaxies")
    scores = {f"{who} {what}": done[who][what] for who in trained for what in _SCORES}
    return scores | {what: done[what] for what in _TIMES}


def _run(kept: Path, processes: int, arguments: Sequence[Any]) -> dict[str, Any]:
    """Run a verb on one thread a process, or return the output of an earlier run."""
    if not kept.is_file():
        print(f"{kept.stem} ...", file=sys.stderr, flush=True)
        began = clocks()
        done = subprocess.run(
            command(processes, list(map(str, arguments))),
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=True,
        )
        time_s, cpu_s = map(float, clocks() - began)
        write_json(kept, {**json.loads(done.stdout), "time_s": time_s, "cpu_s": cpu_s})
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def recipe_toml(recipe: Recipe) -> str:
    """Return the settings of a recipe that differ from the defaults, as TOML."""
    settings = recipe.model_dump(mode="json", exclude_defaults=True)
    lines = [f"{k} = {json.dumps(v)}" for k, v in settings.items() if not isinstance(v, dict)]
    for name, table in settings.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables."""
    parser = command_parser("comparisons.processes", __doc__)
    parser.add_argument("--verbs", nargs="+", choices=("pretrain", "adapt"))
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--galaxies", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if 1 not in given.processes:
        parser.error("--processes must include 1, the reference")
    settings = f"{given.galaxies}-galaxies-{given.epochs}-epochs-{given.steps}-steps"
    folder = ensure_folder(given.out / settings)
    ways = {
        "pretrain": lambda n, seed: _pretrained(folder, n, seed, given.epochs, given.galaxies),
        "adapt": lambda n, seed: _adapted(folder, n, seed, given.steps, given.galaxies),
    }
    for verb in given.verbs or ways:
        runs = {(n, seed): ways[verb](n, seed) for seed in given.seeds for n in given.processes}
        title = f"{verb} on {given.galaxies} galaxies, seeds {', '.join(map(str, given.seeds))}"
        print_rows(title, list(compare_with_one_process(runs)))


if __name__ == "__main__":
    main()
