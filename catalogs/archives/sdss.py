"""Colour cutouts of SDSS from SkyServer's ImgCutout service.

The service draws gri pictures (Lupton et al. 2004, PASP 116, 133) of 64 to 2,048 pixels and any
scale, and no FITS. Outside the footprint it answers 404 (DR18 and later), or 200 with a black tile
and a message in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from catalogs.archives.errors import http_errors
from catalogs.archives.http import Http, Query
from catalogs.archives.limits import Limits
from catalogs.archives.source import CutoutSource
from catalogs.archives.stamps import check_colour

URL = "https://skyserver.sdss.org/dr19/SkyServerWS/ImgCutout/getjpeg"
SIZES_PX = (64, 2048)


@dataclass(frozen=True, kw_only=True)
class ImgCutout(CutoutSource):
    """SkyServer's colour cutouts."""

    survey: str = "sdss"
    service: str = "sdss-skyserver"
    limits: ClassVar[Limits] = Limits(requests_per_second=2, concurrency=2)
    suffix: str = ".jpg"
    size_px: int = 120
    pixel_scale_arcsec: float = 0.396  # native
    url: str = URL  # of getjpeg, with the data release in it

    def __post_init__(self) -> None:
        low, high = SIZES_PX
        if not low <= self.size_px <= high:
            raise ValueError(f"ImgCutout draws {low} to {high} pixels a side, not {self.size_px}")

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Fetch one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        label, side = f"{self.service} at {ra:.5f}, {dec:.5f}", self.size_px
        query: Query = {
            "ra": ra, "dec": dec, "scale": self.pixel_scale_arcsec, "width": side, "height": side
        }  # fmt: skip
        with http_errors(label, no_data=(404,), refused=(400,)):
            data = http.get(self.url, params=query)
        check_colour(data, label, side=side)
        return data
