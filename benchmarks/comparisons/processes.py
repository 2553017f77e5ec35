"""Whether training in several processes is that in one, but for the spread of seeds.

``python -m benchmarks.comparisons.processes --out DIR`` runs `pretrain` (the recipe ``simulated``,
made small, which draws a sky for each seed) and `adapt` (the shipped space, on one sky) by
themselves and under ``torchrun``, and prints a table of each. A run that was stopped goes on: what
is done is kept in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.measuring import clocks
from benchmarks.support.tables import print_rows
from galaxy_da.io.files import ensure_folder, write_json
from training.pretraining.recipe import Recipe, load_recipe

__all__ = ["Measured", "command", "compared", "small_recipe"]

Measured = dict[str, float]
"""What a run came to, by name."""

_SKY_SEED = 1
_METRICS = ("reconstruction", "kl_nat")
_SCORES = ("mean_reciprocal_rank", "recall_at_1")
_TRAINED = ("degraded", "fine-tuned")
_TIMES = ("time_s", "cpu_s")


def compared(runs: Mapping[tuple[int, int], Measured]) -> Iterator[dict[str, Any]]:
    """Compare runs of several processes with those of one.

    Parameters
    ----------
    runs : dict
        By number of processes, 1 among them, and seed.

    Yields
    ------
    dict
        ``what``, ``processes``, ``mean`` and ``spread`` (standard deviation) over seeds, and
        ``differs``, the largest difference to the one process of the same seed.
    """
    for what in next(iter(runs.values())):
        for processes in sorted({number for number, _ in runs}):
            found = {seed: run[what] for (number, seed), run in runs.items() if number == processes}
            values = list(found.values())
            yield {
                "what": what,
                "processes": processes,
                "mean": float(np.mean(values)),
                "spread": float(np.std(values, ddof=1)) if len(values) > 1 else np.nan,
                "differs": max(abs(v - runs[1, seed][what]) for seed, v in found.items()),
            }


def small_recipe(galaxies: int, epochs: int, seed: int) -> Recipe:
    """Return the recipe ``simulated`` with fewer galaxies and epochs, and batches of 32."""
    recipe = load_recipe("simulated")
    return recipe.model_copy(
        update={
            "name": "simulated-small",
            "seed": seed,
            "sky": recipe.sky.model_copy(update={"galaxies": galaxies}),
            "optimiser": recipe.optimiser.model_copy(
                update={"epochs": epochs, "batch": 32, "warmup_steps": 20}
            ),
        }
    )


def command(processes: int, arguments: Sequence[str]) -> list[str]:
    """Return what runs a verb of ours in so many processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [
        sys.executable,
        *(launcher if processes > 1 else ()),
        *("-m", "galaxy_da", *arguments, "--json"),
    ]


def _pretrained(folder: Path, processes: int, seed: int, epochs: int, galaxies: int) -> Measured:
    name = f"pretrain-{processes}-seed-{seed}"
    recipe = folder / f"simulated-seed-{seed}.toml"
    recipe.write_text(_toml(small_recipe(galaxies, epochs, seed)), encoding="utf-8")
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
        raise SystemExit(f"{name}: no network was trained on so few pairs; raise --galaxies")
    scores = {f"{who} {what}": done[who][what] for who in trained for what in _SCORES}
    return scores | {what: done[what] for what in _TIMES}


def _run(kept: Path, processes: int, arguments: Sequence[Any]) -> dict[str, Any]:
    """Run a verb on one thread a process, or return what an earlier run of it printed."""
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


def _toml(recipe: Recipe) -> str:
    """Write what a recipe says that is not usual."""
    said = recipe.model_dump(mode="json", exclude_defaults=True)
    lines = [f"{k} = {json.dumps(v)}" for k, v in said.items() if not isinstance(v, dict)]
    for name, table in said.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verbs", nargs="+", choices=("pretrain", "adapt"))
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--galaxies", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    if 1 not in asked.processes:
        parser.error("--processes has to name 1, which the others are compared with")
    settings = f"{asked.galaxies}-galaxies-{asked.epochs}-epochs-{asked.steps}-steps"
    folder = ensure_folder(asked.out / settings)
    ways = {
        "pretrain": lambda n, seed: _pretrained(folder, n, seed, asked.epochs, asked.galaxies),
        "adapt": lambda n, seed: _adapted(folder, n, seed, asked.steps, asked.galaxies),
    }
    for verb in asked.verbs or ways:
        runs = {(n, seed): ways[verb](n, seed) for seed in asked.seeds for n in asked.processes}
        title = f"{verb} on {asked.galaxies} galaxies, seeds {', '.join(map(str, asked.seeds))}"
        print_rows(title, list(compared(runs)))


if __name__ == "__main__":
    main()
