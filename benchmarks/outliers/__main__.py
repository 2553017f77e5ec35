"""Measure outlier rankings on simulated skies and on Galaxy Zoo's guide images.

``python -m benchmarks.outliers [--space S] [--n N] [--skies N] [--scenes IMAGES] [--guide TABLE]``
prints recall at 1% and AUC by method and kind, purity of the top before and after quality cuts, the
gain by a few human scores and its time, and the ranks of the guide's stars and artefacts.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.outliers.recall import method_rows
from benchmarks.outliers.tables import (
    SURVEYS,
    guide_rows,
    learning_rows,
    purity_rows,
    simulated_indexes,
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
    parser.add_argument("--scenes", type=Path, help="sample table of real images")
    parser.add_argument("--guide", type=Path, help="table of Galaxy Zoo's guide images")
    given = parser.parse_args()
    indexes = simulated_indexes(given.space, given.n, given.skies, given.scenes)
    print_rows("Outliers by kind, mean over skies and surveys", method_rows(indexes, SURVEYS))
    print_rows("Share of outliers at the top", purity_rows(indexes))
    print_rows("Share of rings found, by number of objects scored", learning_rows(indexes))
    print_rows("Time to rank anew from scores", speed_rows())
    if given.guide is None or not given.guide.is_file():
        print("\nGalaxy Zoo guide images: skipped, no --guide table given or found")
    else:
        print_rows("Stars and artefacts of the guide", guide_rows(given.space, given.guide))


if __name__ == "__main__":
    main()
