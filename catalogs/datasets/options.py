"""Options of an image set, in place of what its files say."""

from __future__ import annotations

from dataclasses import dataclass

from galaxy_da.io.storage import PathOrUrl

__all__ = ["ImageSetOptions"]


@dataclass(frozen=True, kw_only=True)
class ImageSetOptions:
    """Columns, bands, pixel scale and positions of an image set.

    Attributes
    ----------
    pixel_scale_arcsec : float, optional
        Side of a pixel [arcsec], if neither images nor columns state it.
    positions : path or URL, optional
        Catalogue with one row per image, in order, for an HDF5 file without ``ra`` and ``dec``.
    image : str, optional
        Column of images in Parquet shards, if there are several (``hsc_image``, ...).
    bands : tuple of str
        Names of planes that nothing names, in order.
    ra, dec, object_id : str, optional
        Columns of shards or of the catalogue of a folder; by default recognised by their spelling.
    stretch : str, optional
        Stretch of colour images, by name, where it is not that of the survey's archive.
    catalog : path or URL, optional
        Catalogue to match the files of a folder to; by default their WCS and names are used.
    match : {"auto", "name", "header", "position"}
        Way to match files.
    accept_colours : bool
        Accept the files of a folder although another order of bands explains their colours.
    """

    pixel_scale_arcsec: float | None = None
    positions: PathOrUrl | None = None
    image: str | None = None
    bands: tuple[str, ...] = ()
    ra: str | None = None
    dec: str | None = None
    object_id: str | None = None
    stretch: str | None = None
    catalog: PathOrUrl | None = None
    match: str = "auto"
    accept_colours: bool = False
