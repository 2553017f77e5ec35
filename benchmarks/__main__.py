"""Print one page of speed: our figure, a peer's, their ratio and the aim.

``python -m benchmarks`` (`make bench`) takes under 15 minutes on two free cores. It prints one
table and writes it as ``bench.md`` and ``bench.json``. *Ratio* is the peer's time or memory over
ours, or our rate over the peer's: above 1 we are faster or smaller. *By processor* is the same of
processor time, for a busy machine. Each row names the command that measures larger sizes.
``--small`` runs each section at its smallest size, as a check that it works.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed_rows import SECTIONS, SpeedRow, measure
from benchmarks.support.commands import command_parser
from benchmarks.support.measuring import in_fresh_process
from galaxy_da.io.files import atomic_path, output_folder, write_json

_HEAD = ("task", "ours", "peer", "theirs", "ratio", "by processor", "aim", "reached", "larger")


def speed_rows(names: Sequence[str], *, small: bool = False) -> list[SpeedRow]:
    """Measure sections, each in a process of its own; progress goes to stderr."""
    rows: list[SpeedRow] = []
    for name in names:
        start = time.perf_counter()
        rows += in_fresh_process(measure, name, small)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return rows


def page(rows: Sequence[SpeedRow], machine: dict[str, Any]) -> str:
    """Return the rows and the machine as Markdown."""
    lines = [_HEAD, ("---",) * len(_HEAD), *map(_cells, rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items())
    reached = [row.reached for row in rows if row.reached is not None]
    return f"{table}\n\n{sum(reached)} of {len(reached)} aims reached; {facts}.\n"


def _cells(row: SpeedRow) -> tuple[str, ...]:
    aim = "" if row.aim is None else f"ratio ≥ {row.aim:.2g}"
    aim = aim if row.limit is None else f"≤ {row.limit:g} {row.unit}"
    return (
        row.task,
        _figure(row.ours, row.unit),
        row.peer,
        _figure(row.theirs, row.unit),
        f"{row.ratio:.2f}",
        "" if row.cpu_ratio is None else f"{row.cpu_ratio:.2f}",
        aim,
        {None: "", True: "yes", False: "no"}[row.reached],
        f"`{row.larger}`",
    )


def _figure(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the page."""
    parser = command_parser("", __doc__)
    parser.add_argument("--small", action="store_true", help="run each at its smallest size")
    parser.add_argument("--only", nargs="+", choices=tuple(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of the page")
    given = parser.parse_args(arguments)
    output_folder(given.out)
    load, start = os.getloadavg()[0], time.perf_counter()
    rows = speed_rows(given.only, small=given.small)
    machine = {
        "cores": len(os.sched_getaffinity(0)),
        "load_at_the_start": round(load, 1),
        "load_at_the_end": round(os.getloadavg()[0], 1),
        "minutes": round((time.perf_counter() - start) / 60, 1),
    }
    text = page(rows, machine)
    with atomic_path(given.out / "bench.md") as draft:
        draft.write_text(text, encoding="utf-8")
    write_json(given.out / "bench.json", {**machine, "rows": [row.as_dict() for row in rows]})
    print(text)


if __name__ == "__main__":
    main()
