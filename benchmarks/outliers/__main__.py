"""Measure both rankings of outliers, bad data and strange galaxies.

``python -m benchmarks.outliers [--space S] [--n N] [--skies N] [--scenes IMAGES] [--data DATA]``
prints, on real images, the shares called bad data, their reasons, and how mergers are ranked; then,
on simulated skies, recall at 1% false alarms by kind, measures of the difference between surveys,
what a person finds by 60 scores, and the time of a ranking. DATA is the folder of real images.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.outliers.real_images import real_indexes, real_rows, reason_rows
from benchmarks.outliers.recall import kind_rows
from benchmarks.outliers.simulated import (
    SURVEYS,
    injected_skies,
    learning_rows,
    pair_rows,
    speed_rows,
)
from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows


def main() -> None:
    """Print the tables."""
    parser = command_parser("outliers", __doc__)
    parser.add_argument("--space", default="decals")
    parser.add_argument("--n", type=int, default=800, help="galaxies of each sky")
    parser.add_argument("--skies", type=int, default=3)
    parser.add_argument("--scenes", type=Path, help="sample table of real images to draw skies of")
    parser.add_argument("--data", type=Path, help="folder of real images")
    given = parser.parse_args()
    real = real_indexes(given.space, given.data)
    print_rows("Real images", real_rows(real))
    print_rows("Reasons of bad data in real images", reason_rows(real))
    skies = injected_skies(given.space, given.n, given.skies, given.scenes)
    print_rows("Injected kinds, means over skies and surveys", kind_rows(skies, SURVEYS))
    print_rows("Difference between two surveys' images", pair_rows(skies))
    print_rows("Share of an unseen class found by 60 scores", learning_rows(skies))
    print_rows("Time of a ranking", speed_rows())


if __name__ == "__main__":
    main()
