"""Colour cutouts of SDSS from SkyServer's ImgCutout service.

It draws gri pictures (Lupton et al. 2004, PASP 116, 133) of 64 to 2,048 pixels and any scale, and
no FITS. Outside the footprint it answers 404 (DR18 and later), or 200 with a black tile that says
so in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from catalogs.archives.footprints import Footprinted
from catalogs.archives.limits import Limits
from catalogs.archives.stamps import check_colour
from galaxy_da.errors import CatalogError, CutoutError

if TYPE_CHECKING:
    from catalogs.archives.http import Http

__all__ = ["SIZES_PX", "URL", "ImgCutout"]

URL = "https://skyserver.sdss.org/dr19/SkyServerWS/ImgCutout/getjpeg"
SIZES_PX = (64, 2048)


@dataclass(frozen=True, kw_only=True)
class ImgCutout(Footprinted):
    """SkyServer's colour cutouts.

    Attributes
    ----------
    size_px : int
        Side of a cutout [pixels], 64 to 2,048.
    pixel_scale_arcsec : float
        Side of a pixel [arcsec]; 0.396 is native.
    url : str
        Address of ``getjpeg``, with the data release in it.

    Raises
    ------
    ValueError
        If the size is outside what the service draws.
    """

    size_px: int = 120
    pixel_scale_arcsec: float = 0.396
    url: str = URL
    survey: ClassVar[str] = "sdss"
    service: ClassVar[str] = "sdss-skyserver"
    limits: ClassVar[Limits] = Limits(requests_per_second=2, concurrency=2)
    suffix: ClassVar[str] = ".jpg"

    def __post_init__(self) -> None:
        low, high = SIZES_PX
        if not low <= self.size_px <= high:
            raise ValueError(f"ImgCutout draws {low} to {high} pixels a side, not {self.size_px}")

    def identity(self) -> Mapping[str, str | int | float]:
        """Return what decides a cutout's bytes besides its position."""
        return {
            "url": self.url,
            "size_px": self.size_px,
            "pixel_scale_arcsec": self.pixel_scale_arcsec,
        }

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Get one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        from catalogs.archives.http import HttpError

        what = f"{self.service} at {ra:.5f}, {dec:.5f}"
        query: dict[str, str | int | float] = {
            "ra": ra,
            "dec": dec,
            "scale": self.pixel_scale_arcsec,
            "width": self.size_px,
            "height": self.size_px,
        }
        try:
            data = http.get(self.url, params=query)
        except HttpError as error:
            if error.code == 404:
                raise CutoutError(f"{what}: {error}", status="no_data") from error
            if error.code == 400:
                raise CatalogError(f"{what}: does not take this request ({error})") from error
            raise
        check_colour(data, what, side=self.size_px)
        return data
