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
        Column of images in Parquet shards; by default the only one. Sets of several surveys have
        more (``hsc_image``, ``legacysurvey_image``).
    bands : tuple of str
        Names of the planes of nested images without ``band``.
    ra, dec, object_id : str, optional
        Columns of Parquet shards; by default recognised by their usual spellings.
    """

    pixel_scale_arcsec: float | None = None
    positions: PathOrUrl | None = None
    image: str | None = None
    bands: tuple[str, ...] = ()
    ra: str | None = None
    dec: str | None = None
    object_id: str | None = None
