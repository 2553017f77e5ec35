"""Verbs of the catalogues: simulate, crossmatch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_da.cli import AsJson, Out, SurveyFiles, print_result

__all__ = ["crossmatch", "simulate"]


def simulate(
    out: Out,
    surveys: Annotated[str, typer.Option(help="Comma-separated; the first is observed twice.")] = (
        "decals,sdss,hsc"
    ),
    n: Annotated[int, typer.Option("--n", min=1, help="Galaxies.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the whole sky.")] = 1,
    scenes: Annotated[
        Path | None, typer.Option(help="Sample table of real images to use as galaxies.")
    ] = None,
    survey_file: SurveyFiles = None,
    json: AsJson = False,
) -> None:
    """Simulate one sky as several surveys see it, with the true pairs.

    Example: galaxy-da simulate --surveys decals,sdss,hsc --n 2000 --seed 1 --out sky
    """
    from catalogs.simulate import simulate as run
    from galaxy_da.surveys import get_survey, load_survey

    own = {survey.name: survey for survey in map(load_survey, survey_file or [])}
    wanted = [name.strip() for name in surveys.split(",") if name.strip()]
    wanted += [name for name in own if name not in wanted]
    result = run(
        [own.get(name) or get_survey(name) for name in wanted],
        n,
        seed=seed,
        out=out,
        scenes=scenes,
        progress=True,
    )
    print_result(result, json)


def crossmatch(
    anchor: Annotated[Path, typer.Argument(metavar="ANCHOR", help="Catalogue or sample table.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="Catalogue or sample table.")],
    out: Out,
    radius: Annotated[float, typer.Option(min=1e-4, help="Largest separation [arcsec].")] = 1.0,
    mode: Annotated[str, typer.Option(help="mutual, nearest or all.")] = "mutual",
    repeat: Annotated[
        bool, typer.Option(help="Allow both sides to be the same survey (repeat observations).")
    ] = False,
    json: AsJson = False,
) -> None:
    """Pair two catalogues by position: FITS, VOTable, ECSV, CSV or Parquet.

    Example: galaxy-da crossmatch decals/sample.parquet sdss/sample.parquet --out pairs.parquet
    """
    from typing import cast

    from catalogs.crossmatch import Mode
    from catalogs.crossmatch import crossmatch as run
    from catalogs.reading import read_catalog
    from galaxy_da.tables import read_metadata, write_table

    if mode not in ("mutual", "nearest", "all"):
        raise typer.BadParameter(f"mode is mutual, nearest or all, not {mode!r}")
    pairs = run(
        read_catalog(anchor),
        read_catalog(target),
        radius_arcsec=radius,
        mode=cast(Mode, mode),
        allow_same_survey=repeat,
    )
    write_table(pairs, out)
    print_result({"pairs": str(out), **read_metadata(pairs.schema)}, json)
