"""``python -m benchmarks.comparisons networks poses --out DIR`` prints tables of docs/anchor.md.

A run that was stopped goes on: the sky and the networks that are trained are kept in the folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.comparisons.run import compare_networks, compare_poses, measure_space
from benchmarks.comparisons.sky import comparison_sky
from benchmarks.support.tables import print_rows
from galaxy_da.io.files import ensure_folder

_TABLES = {"networks": compare_networks, "poses": compare_poses}


def main() -> None:
    """Print each table; its rows also as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", choices=("shipped", *_TABLES))
    parser.add_argument("--minutes", type=float, default=3.0, help="of one thread, each training")
    parser.add_argument("--galaxies", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    settings = f"{asked.galaxies}-galaxies-{asked.minutes:g}-minutes-seed-{asked.seed}"
    folder = ensure_folder(asked.out / settings)
    sky = comparison_sky(asked.galaxies, asked.seed, folder, progress=True)
    print(f"{len(sky.train)} galaxies to train on, {len(sky.first)} to test", flush=True)
    for title in asked.tables:
        if title == "shipped":
            print_rows("The shipped space, as it was trained", [measure_space(sky, "decals")])
            continue
        rows = []
        for row in _TABLES[title](sky, 60 * asked.minutes, folder, asked.seed):
            print(row, flush=True)
            rows.append(row)
        print_rows(f"{title}, 40 latents, {asked.minutes:g} min of one thread each", rows)


if __name__ == "__main__":
    main()
