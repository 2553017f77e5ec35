"""Options that complete or override what the files of an image set state."""

from __future__ import annotations

from dataclasses import dataclass

from galaxy_da.errors import CatalogError
from galaxy_da.io.storage import Location, PathOrUrl


@dataclass(frozen=True, kw_only=True)
class ImageSetOptions:
    """Columns, bands, pixel scale and positions of an image set.

    Positions of an HDF5 file without ``ra`` and ``dec`` come from `positions`, a catalogue with a
    row per image, in order. Files of a folder are matched to `catalog` by their name, header or
    position (``auto``: the way that matches most); without it, their WCS and names are used.
    """

    pixel_scale_arcsec: float | None = None  # if neither images nor columns state it
    positions: PathOrUrl | None = None
    image: str | None = None  # column of images in shards, if there are several (hsc_image, ...)
    bands: tuple[str, ...] = ()  # names of planes, in order, where the file has none
    ra: str | None = None  # columns of shards or of the catalogue, by default recognised
    dec: str | None = None
    object_id: str | None = None
    unit: str | None = None  # of ra in the catalogue, and frame, where the file does not say
    frame: str | None = None
    stretch: str | None = None  # of colour images, where it is not that of the survey's archive
    catalog: PathOrUrl | None = None
    match: str = "auto"  # or name, header, position
    accept_colours: bool = False  # accept a folder whose colours suit another band order


def no_image_set(source: Location) -> CatalogError:
    """Return the error of a place without images."""
    return CatalogError(
        f"{source}: no image set there; give a folder of FITS, JPEG, PNG or NPY files, a Galaxy10 "
        "HDF5 file, a Parquet file, a folder of Parquet shards or a HATS catalogue"
    )
