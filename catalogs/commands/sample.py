"""Verb of image sets: sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from catalogs.commands.catalogue_input import DecColumn, IdColumn, PositionFrame, RaColumn, RaUnit
from galaxy_da.commands.options import AsJson, OutFile, user_mistakes
from galaxy_da.commands.printing import print_result

if TYPE_CHECKING:
    from upath import UPath

    from catalogs.datasets import ImageSetOptions

_LISTED = 10


def sample(
    source: Annotated[
        UPath,
        typer.Argument(
            metavar="SET",
            help="Folder of FITS, JPEG, PNG or NPY files, Galaxy10 HDF5, Parquet shards, or HATS.",
        ),
    ],
    out: OutFile,
    survey: Annotated[str, typer.Option(help="Survey of the images: built-in name or TOML file.")],
    catalog: Annotated[
        UPath | None,
        typer.Option(
            help="Catalogue to match the files of a folder to; by default their WCS and names."
        ),
    ] = None,
    match: Annotated[
        str,
        typer.Option(
            help="Match files by name (it holds the id), header (a card such as OBJECT holds it) "
            "or position (WCS); auto takes what matches most."
        ),
    ] = "auto",
    image: Annotated[
        str | None, typer.Option(help="Column of images, if there are several.")
    ] = None,
    bands: Annotated[str, typer.Option(help="Bands of unnamed planes, for example g,r,i,z.")] = "",
    stretch: Annotated[
        str | None,
        typer.Option(
            help="Stretch of colour images, if not the archive's: galaxy-zoo of decals, "
            "galaxy-zoo-1 of sdss."
        ),
    ] = None,
    accept_colours: Annotated[
        bool,
        typer.Option(
            "--accept-colours", help="Keep the order of bands although galaxies' colours differ."
        ),
    ] = False,
    positions: Annotated[
        UPath | None, typer.Option(help="Catalogue with one row for each image of an HDF5 file.")
    ] = None,
    pixel_scale: Annotated[
        float | None,
        typer.Option(min=1e-3, help="Pixel scale [arcsec], if the file does not state it."),
    ] = None,
    embedding: Annotated[
        str | None,
        typer.Option(
            help="Column of another model's embeddings, or MODEL=COLUMN: write features of them, "
            "for `index`, in place of a sample table."
        ),
    ] = None,
    ra: RaColumn = None,
    dec: DecColumn = None,
    id: IdColumn = None,
    unit: RaUnit = None,
    frame: PositionFrame = None,
    json: AsJson = False,
) -> None:
    """Write the sample table of a folder of image files, or of a published image set.

    The files of a folder are matched to a catalogue. Name one file per band as in ID_g.fits. The
    colours of some galaxies are measured: planes in another order than declared are refused.

    Example: galaxy-da sample cutouts --catalog galaxies.csv --survey decals --out sample.parquet

    Example: galaxy-da sample Galaxy10_DECals.h5 --survey decals --out galaxy10/sample.parquet

    Example: galaxy-da sample aion.parquet --survey hsc --embedding aion_mean_embedding --out aion
    """
    from catalogs.datasets import ImageSetOptions, write_sample

    with user_mistakes():
        options = ImageSetOptions(
            pixel_scale_arcsec=pixel_scale,
            positions=positions,
            image=image,
            bands=tuple(name.strip() for name in bands.split(",") if name.strip()),
            ra=ra,
            dec=dec,
            object_id=id,
            unit=unit,
            frame=frame,
            stretch=stretch,
            catalog=catalog,
            match=match,
            accept_colours=accept_colours,
        )
        if embedding is not None:
            print_result(_write_embeddings(source, out, survey, embedding, options), json)
            return
        result = write_sample(source, out, survey, options, progress=True)
    print_result(result if json else _shortened(result), json)
    if result["sample"] is None:
        raise typer.Exit(1)


def _write_embeddings(
    source: UPath, out: UPath, survey: str, embedding: str, options: ImageSetOptions
) -> dict[str, Any]:
    from catalogs.datasets import read_embeddings, write_embeddings

    model, _, column = embedding.rpartition("=")
    features = read_embeddings(source, survey, column, model or None, options)
    write_embeddings(features, out)
    return {
        "features": str(out),
        "rows": features.table.num_rows,
        "ok": features.ok().num_rows,
        "model": model or column,
        "width": features.table.schema.field("embedding").type.list_size,
    }


def _shortened(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with the counts and first items of its lists, for people."""
    lines = dict(result)
    for key, value in result.items():
        if isinstance(value, list):
            more = f", ... ({len(value) - _LISTED} more: --json)" if len(value) > _LISTED else ""
            lines[key] = f"{len(value)}: {', '.join(value[:_LISTED])}{more}" if value else "0"
    return lines
