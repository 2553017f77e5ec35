"""HSC-SSP coadds from the das_cutout service of the public data releases.

One request per filter, with the account of a registered user (HTTP basic). The account is read from
the environment and never stored. A request gives semi-widths and covers at most 3 x 3 patches.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import ClassVar

from catalogs.archives.errors import http_errors
from catalogs.archives.http import Http, Query
from catalogs.archives.limits import Limits
from catalogs.archives.protocol import ArchiveSource
from catalogs.archives.stamps import flux_stamp, write_cube
from galaxy_da.errors import CatalogError
from galaxy_da.images.calibration import calibration_cards
from galaxy_da.surveys import find_survey

__all__ = ["LARGEST_ARCSEC", "PASSWORD", "URL", "USER", "HyperSuprimeCam"]

URL = "https://hsc-release.mtk.nao.ac.jp/das_cutout/pdr3/cgi-bin/cutout"
USER, PASSWORD = "HSC_USER", "HSC_PASSWORD"  # environment variables of the account
LARGEST_ARCSEC = 2100.0  # widest request: 35 arcmin, within 3 x 3 patches of 11.6 arcmin
_ROUNDING_PX = 3


@dataclass(frozen=True, kw_only=True)
class HyperSuprimeCam(ArchiveSource):
    """The cutout service of HSC-SSP."""

    side_arcsec: float = 45.0
    bands: str = "grizy"  # in the order of the cube
    rerun: str = "pdr3_wide"  # data release and layer, also pdr3_dud_rev
    url: str = URL
    survey: ClassVar[str] = "hsc"
    service: ClassVar[str] = "hsc-release.mtk.nao.ac.jp"
    limits: ClassVar[Limits] = Limits(requests_per_second=4, concurrency=4)
    suffix: ClassVar[str] = ".fits"

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", "".join(self.bands))
        if not self.bands or set(self.bands) - set("grizy"):
            raise ValueError(f"HSC has filters grizy, not {self.bands!r}")
        if not 0 < self.side_arcsec <= LARGEST_ARCSEC:
            raise ValueError(
                f"HSC cuts up to {LARGEST_ARCSEC:g} arcsec a side, not {self.side_arcsec:g}"
            )

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Fetch one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        label = f"{self.service} {self.rerun} at {ra:.5f}, {dec:.5f}"
        survey = find_survey(self.survey)
        side = math.ceil(self.side_arcsec / survey.pixel_scale_arcsec)
        stamps = {}
        for band in self.bands:
            where = f"{label} {band}"
            data = self._get(ra, dec, band, http, where)
            stamps[band] = flux_stamp(data, where, survey, side=side, slack=_ROUNDING_PX)
        return write_cube(stamps, label, {"SURVEY": "HSC", **calibration_cards(survey)})

    def _get(self, ra: float, dec: float, band: str, http: Http, label: str) -> bytes:
        side = f"{self.side_arcsec / 2:g}arcsec"
        query: Query = {
            "ra": ra, "dec": dec, "sw": side, "sh": side, "type": "coadd", "image": "on",
            "mask": "off", "variance": "off", "filter": f"HSC-{band.upper()}", "rerun": self.rerun,
        }  # fmt: skip
        with http_errors(label, no_data=(404,), refused=(400,)):
            return http.get(self.url, params=query, auth=_account())


def _account() -> tuple[str, str]:
    try:
        return os.environ[USER], os.environ[PASSWORD]
    except KeyError as error:
        raise CatalogError(
            f"HSC cutouts need an account: register at hsc-release.mtk.nao.ac.jp and set {USER} "
            f"and {PASSWORD} in the environment ({error.args[0]} is not set)"
        ) from error
