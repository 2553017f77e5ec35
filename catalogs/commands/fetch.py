"""The verb of the archives: fetch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catalogs.commands.catalogue_input import (
    DecColumn,
    IdColumn,
    PositionFrame,
    RaColumn,
    RaUnit,
    read_and_report,
)
from galaxy_da.commands.options import AsJson, OutFolder, Planes, finite
from galaxy_da.commands.printing import print_result

if TYPE_CHECKING:
    from upath import UPath

_OWN_MOC, _NO_MOC = "survey", "none"


def fetch(
    survey: Annotated[
        str, typer.Argument(metavar="SURVEY", help="Survey: built-in name or TOML file.")
    ],
    catalog: Annotated[
        UPath,
        typer.Option(
            help="Catalogue of positions: FITS, VOTable, ECSV, CSV, Parquet or a sample table."
        ),
    ],
    out: OutFolder,
    size_arcsec: Annotated[
        float | None,
        typer.Option(
            min=1,
            callback=finite,
            help="Side of a cutout [arcsec]; by default that of the service.",
        ),
    ] = None,
    service: Annotated[
        str | None, typer.Option(help="Archive of the survey; by default its first.")
    ] = None,
    mosaic: Annotated[
        str | None,
        typer.Option(
            help="Cut your own coadds: FITS files, with * for the tile and {band} for the band."
        ),
    ] = None,
    planes: Planes = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Option of the service; may repeat."),
    ] = None,
    moc: Annotated[
        str,
        typer.Option(
            help="Footprint: a MOC file, 'survey' (the one its definition names, downloaded once "
            "from CDS) or 'none'."
        ),
    ] = _OWN_MOC,
    ra: RaColumn = None,
    dec: DecColumn = None,
    id: IdColumn = None,
    unit: RaUnit = None,
    frame: PositionFrame = None,
    table: Annotated[
        str | None, typer.Option(help="Table of a FITS or VOTable file of several: name or number.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Index of cutouts already on this machine; by default that of the user."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Fetch cutouts from an archive; run again to resume or to retry.

    OUT/sample.parquet has every row of the catalogue with its status: ok, outside_footprint,
    no_data, failed_quality, fetch_failed, unreadable or bad_position.

    Example: galaxy-da fetch decals --catalog sdss/sample.parquet --size-arcsec 40 --out decals
    """
    from catalogs.archives.cache import Cache
    from catalogs.archives.fetch import fetch as run
    from galaxy_da.io.staging import replace_paths, staged_folder

    if mosaic is not None and service not in (None, "mosaic"):
        raise typer.BadParameter(f"--mosaic cuts local files, --service {service} does not")
    options = dict(map(_parse_option, option or []))
    if mosaic is not None:
        service = "mosaic"
        options |= {"files": mosaic, "planes": tuple(planes or ())}
    source = _open(survey, service, options, size_arcsec, moc)
    columns = {"ra": ra, "dec": dec, "id": id, "unit": unit, "frame": frame, "table": table}
    rows = read_and_report(catalog, "catalogue", columns)
    with staged_folder(out) as folder:
        result = run(source, rows, folder, cache=Cache(cache), progress=True)
    print_result(replace_paths(result, folder, out), json)


def _parse_option(text: str) -> tuple[str, str | int | float | tuple[str, ...]]:
    """Read NAME=VALUE; a value with commas is several."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise typer.BadParameter(f"--set takes NAME=VALUE, not {text!r}")
    if "," in value:
        return name, tuple(part.strip() for part in value.split(","))
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


def _open(
    survey: str, service: str | None, options: dict[str, Any], size_arcsec: float | None, moc: str
) -> Any:
    """Open the source, with its size and footprint in the terms of its class."""
    from dataclasses import fields

    from catalogs.archives.registry import open_source
    from galaxy_da.surveys import find_survey

    try:
        source: Any = open_source(survey, service, **options)
        names = {field.name for field in fields(source)}
        if size_arcsec is not None and "side_arcsec" in names:
            options["side_arcsec"] = size_arcsec
        elif size_arcsec is not None:
            native = find_survey(survey).pixel_scale_arcsec
            scale = float(source.identity().get("pixel_scale_arcsec", native))
            options["size_px"] = max(1, round(size_arcsec / scale))
        if service != "mosaic" and moc != _NO_MOC:  # a mosaic covers what its files cover
            options["footprint"] = _footprint(survey, moc)
        return open_source(survey, service, **options)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _footprint(survey: str, moc: str) -> Any:
    """Read the MOC, or get the survey's own from CDS once."""
    from platformdirs import user_cache_path

    from catalogs.archives.errors import HttpError
    from catalogs.archives.footprints import MOC_SERVER, download_footprint, read_footprint
    from catalogs.archives.http import Http
    from catalogs.archives.limits import Limits
    from galaxy_da.errors import CatalogError
    from galaxy_da.surveys import find_survey

    if moc != _OWN_MOC:
        return read_footprint(moc)
    try:
        with Http("cds-mocserver", Limits(requests_per_second=2, concurrency=1)) as http:
            folder = user_cache_path("galaxy_da") / "footprints"
            return download_footprint(find_survey(survey), http, folder, url=MOC_SERVER)
    except HttpError as error:
        raise CatalogError(
            f"{survey}: its footprint could not be downloaded ({error}); give --moc FILE, or "
            "--moc none to ask the archive for every row"
        ) from error
