"""Compare networks and treatments of pose at equal training time, as in docs/anchor.md.

``python -m benchmarks.comparisons networks poses --out DIR`` prints a table of each. A stopped run
resumes: the folder keeps the sky and the trained networks.
"""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.comparisons.run import compare_networks, compare_poses, measure_space
from benchmarks.comparisons.sky import comparison_sky
from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.io.files import ensure_folder

_TABLES = {"networks": compare_networks, "poses": compare_poses}


def main() -> None:
    """Print each row when it is measured, then each table."""
    parser = command_parser("comparisons", __doc__)
    parser.add_argument("tables", nargs="+", choices=("shipped", *_TABLES))
    parser.add_argument(
        "--minutes", type=float, default=3.0, help="of one thread for each training"
    )
    parser.add_argument("--galaxies", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings = f"{given.galaxies}-galaxies-{given.minutes:g}-minutes-seed-{given.seed}"
    folder = ensure_folder(given.out / settings)
    sky = comparison_sky(given.galaxies, given.seed, folder, progress=True)
    print(f"{len(sky.train)} galaxies to train on, {len(sky.first)} to test", flush=True)
    for title in given.tables:
        if title == "shipped":
            print_rows("The shipped space, as it was trained", [measure_space(sky, "decals")])
            continue
        rows = []
        for row in _TABLES[title](sky, 60 * given.minutes, folder, given.seed):
            print(row, flush=True)
            rows.append(row)
        print_rows(f"{title}, 40 latents, {given.minutes:g} min of one thread each", rows)


if __name__ == "__main__":
    main()
