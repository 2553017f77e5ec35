"""Fit the domain score and the physical columns of an anchor to its training sky.

Example: python -m training.readings --space space --sky sky --out space --seed 0
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pyarrow as pa

from galaxy_da.commands.printing import print_table
from galaxy_da.space import LatentSpace
from training.anchor.images import BLOCK
from training.anchor.recipe import AnchorRecipe
from training.anchor.sky import draw_sky
from training.readings.fit import fit_readings

_GALAXIES = 30000


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m training.readings", description=__doc__)
    parser.add_argument("--space", required=True, help="space of an anchor of `pretrain`")
    parser.add_argument(
        "--sky", type=Path, required=True,
        help="sky of the space's recipe, of any seed; a new folder for that of its own seed",
    )  # fmt: skip
    parser.add_argument("--out", required=True, help="folder of the new space")
    parser.add_argument("--galaxies", type=int, default=_GALAXIES, help="number of galaxies")
    parser.add_argument("--seed", type=int, default=0, help="seed of the fit")
    given = parser.parse_args()
    space = LatentSpace.load(given.space)
    recipe = AnchorRecipe.model_validate(space.training["recipe"])
    drawn = BLOCK * len(list(given.sky.glob("block-*.parquet"))) or recipe.galaxies
    galaxies = min(drawn, recipe.galaxies, 4 * given.galaxies)
    sky = draw_sky(recipe.model_copy(update={"galaxies": galaxies}), (), given.sky)
    fitted = fit_readings(space, sky, given.galaxies, given.seed)
    space.with_probes(fitted.probes).with_domain(fitted.domain).save(given.out)
    for rows in (fitted.domain_rows, fitted.probe_rows):
        print_table(pa.Table.from_pylist(rows, schema=_schema(rows)), False)
        print()


def _schema(rows: list[dict[str, Any]]) -> pa.Schema:
    """Return the columns of rows that lack some."""
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    names = {name: kinds[type(value)] for row in rows for name, value in row.items()}
    return pa.schema(list(names.items()))


if __name__ == "__main__":
    main()
