"""Verb: select."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from catalogs.commands.catalogue_input import read_and_report
from galaxy_da.commands.options import AsJson, OutFile, user_mistakes
from galaxy_da.commands.printing import print_result

if TYPE_CHECKING:
    from upath import UPath


def select(
    catalog: Annotated[
        UPath, typer.Argument(metavar="CATALOG", help="Galaxy Zoo table with vote fractions.")
    ],
    preset: Annotated[str, typer.Option(help="Class of galaxies, for example smooth-round.")],
    out: OutFile,
    threshold: Annotated[
        float | None, typer.Option(help="Vote fraction to require, in place of the preset's.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Select galaxies of one class by Galaxy Zoo vote fractions.

    Example: galaxy-da select gz_decals.parquet --preset smooth-round --out round.parquet
    """
    from catalogs.selections import select as run
    from galaxy_da.io.tables import write_table

    table = read_and_report(catalog, "catalogue")
    with user_mistakes():
        selected = run(table, preset, threshold=threshold)
    write_table(selected, out)
    result = {"catalog": str(out), "preset": preset, "n": len(table), "n_selected": len(selected)}
    print_result(result, json)
