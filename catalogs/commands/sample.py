"""Verb of the image sets: sample."""

from __future__ import annotations

from typing import Annotated

import typer
from upath import UPath

from galaxy_da.commands.options import AsJson, Out, user_mistakes
from galaxy_da.commands.printing import print_result

__all__ = ["sample"]


def sample(
    source: Annotated[
        UPath,
        typer.Argument(metavar="SET", help="Image set: Galaxy10 HDF5, Parquet shards, or HATS."),
    ],
    out: Out,
    survey: Annotated[str, typer.Option(help="Survey of the images: built-in name or TOML file.")],
    image: Annotated[
        str | None, typer.Option(help="Column of images, if there are several.")
    ] = None,
    bands: Annotated[str, typer.Option(help="Bands of unnamed planes, for example g,r,i,z.")] = "",
    positions: Annotated[
        UPath | None, typer.Option(help="Catalogue with one row for each image of an HDF5 file.")
    ] = None,
    pixel_scale: Annotated[
        float | None, typer.Option(help="Pixel scale [arcsec], if the file does not state it.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Write the sample table of a published image set.

    Example: galaxy-da sample Galaxy10_DECals.h5 --survey decals --out galaxy10/sample.parquet
    """
    from catalogs.datasets import ImageSetOptions, write_sample

    with user_mistakes():
        options = ImageSetOptions(
            pixel_scale_arcsec=pixel_scale,
            positions=positions,
            image=image,
            bands=tuple(name.strip() for name in bands.split(",") if name.strip()),
        )
        result = write_sample(source, out, survey, options)
    print_result(result, json)
