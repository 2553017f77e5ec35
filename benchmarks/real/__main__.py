"""Measure a space on all real images, every survey read by its definition, in one table.

``python -m benchmarks.real DATA [--space SPACE] [--json FILE]`` takes under three minutes on two
cores. DATA is the folder of the real images. Two spaces are compared by running it twice.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.real.deep_field import deep_field_rows, read_deep_field
from benchmarks.real.galaxy10 import galaxy10_rows
from benchmarks.real.guide import guide_rows
from benchmarks.real.ranks import group_rows, rank_rows
from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.io.files import write_json
from galaxy_da.space import LatentSpace

Rows = Iterator[dict[str, Any]]


def measure_real(space: LatentSpace, data: Path) -> list[dict[str, Any]]:
    """Return rows of ``images``, ``measure``, ``n``, by ``galaxy`` latents and by ``all``."""
    parts: tuple[Callable[[LatentSpace, Path], Rows], ...] = (_ranks, _field, _guide, _galaxy10)
    return [row for part in parts for row in part(space, data)]


def _row(images: str, measure: str, n: int, galaxy: float, every: float | None) -> dict[str, Any]:
    return {"images": images, "measure": measure, "n": n, "galaxy": galaxy, "all": every}


def _ranks(space: LatentSpace, data: Path) -> Rows:
    for row in group_rows(rank_rows(space, data)):
        for measure, title in (("first", "first of"), ("median", "median rank of")):
            name = f"{title} {row['pool']} SDSS galaxies"
            values = (row[f"{kind}: {measure}"] for kind in ("galaxy", "all"))
            yield _row(row["group"], name, row["pairs"], *values)


def _field(space: LatentSpace, data: Path) -> Rows:
    with tempfile.TemporaryDirectory() as folder:
        field = read_deep_field(data / "kids_viking_field", Path(folder))
        found = {row["latents"]: row for row in deep_field_rows(space, field)}
    for measure in ("recall_at_1", "recall_at_10"):
        values = (found[kind][measure] for kind in ("galaxy", "all"))
        pool = found["all"]["pool"]
        yield _row("KiDS-VIKING, infrared to optical", measure, pool, *values)


def _guide(space: LatentSpace, data: Path) -> Rows:
    for row in guide_rows(space, data):
        name = f"smooth or featured, {row['trained']} to {row['tested']}"
        yield _row("Galaxy Zoo", f"AUC, {name}", row["smooth"] + row["featured"], row["auc"], None)


def _galaxy10(space: LatentSpace, data: Path) -> Rows:
    galaxy, every = galaxy10_rows(space, data)
    for measure in ("neighbours", "logistic", "chance", "reconstruction"):
        yield _row("Galaxy10", measure, galaxy["images"], galaxy[measure], every[measure])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it as JSON if asked to."""
    parser = command_parser("real", __doc__)
    parser.add_argument("data", type=Path, help="folder of the real images")
    parser.add_argument("--space", default="decals", help="latent space: a folder, or 'decals'")
    parser.add_argument("--json", type=Path, help="file for the rows of the table")
    given = parser.parse_args(arguments)
    space, start = LatentSpace.load(given.space), time.perf_counter()
    rows = measure_real(space, given.data)
    seconds = time.perf_counter() - start
    print_rows(f"Real images by {given.space}, every survey by definition ({seconds:.0f} s)", rows)
    if given.json is not None:
        write_json(given.json, {"space": space.id, "seconds": seconds, "rows": rows})


if __name__ == "__main__":
    main()
