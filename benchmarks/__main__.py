"""Run the benchmarks of `make bench`, one after another, each in a process of its own.

``python -m benchmarks`` takes about an hour on two free cores. ``--small`` runs each at its
smallest size, as a check that it works. README.md lists all benchmarks.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.support.commands import command_parser

__all__ = ["BENCH", "SMALL"]

BENCH = (
    "crossmatch 100000 1000000",
    "extraction",
    "index 100000 1000000",
    "distributed",
    "service",
    "training_speed",
    "adaptation_speed",
)
"""Command lines of `make bench`, after ``python -m benchmarks.``."""

SMALL = (
    "crossmatch 3000 nearest astropy",
    "extraction --images 64 --repeats 1",
    "index 10000",
    "distributed --verbs crossmatch --sizes 8000 --workers 0 1",
    "service 2000 --seconds 0.5 --repeats 1",
    "training_speed --images 64 --rounds 1",
    "adaptation_speed --galaxies 200 --steps 1",
)
"""The same at their smallest sizes."""


def main() -> None:
    """Run every benchmark; stop at the first that fails."""
    parser = command_parser("", __doc__)
    parser.add_argument("--small", action="store_true", help="run each at its smallest size")
    for line in SMALL if parser.parse_args().small else BENCH:
        name, *arguments = line.split()
        print(f"\n$ python -m benchmarks.{line}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], check=True)


if __name__ == "__main__":
    main()
