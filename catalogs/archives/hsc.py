"""HSC-SSP coadds from the das_cutout service of the public data releases.

One request per filter, with the account of a registered user (HTTP basic). The account is read from
the environment and never stored. A request gives semi-widths and covers at most 3 x 3 patches.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, ClassVar

from catalogs.archives.errors import http_errors
from catalogs.archives.http import Http, Query
from catalogs.archives.source import BandSource
from catalogs.archives.stamps import Place, Stamp, flux_stamp
from galaxy_da.errors import CatalogError
from galaxy_da.surveys import find_survey

__all__ = ["LARGEST_ARCSEC", "PASSWORD", "URL", "USER", "HyperSuprimeCam"]

URL = "https://hsc-release.mtk.nao.ac.jp/das_cutout/pdr3/cgi-bin/cutout"
USER, PASSWORD = "HSC_USER", "HSC_PASSWORD"  # environment variables of the account
LARGEST_ARCSEC = 2100.0  # widest request: 35 arcmin, within 3 x 3 patches of 11.6 arcmin
_ROUNDING_PX = 3


@dataclass(frozen=True, kw_only=True)
class HyperSuprimeCam(BandSource):
    """The cutout service of HSC-SSP."""

    survey: str = "hsc"
    service: str = "hsc-release.mtk.nao.ac.jp"
    side_arcsec: float = 45.0
    bands: str = "grizy"  # in the order of the cube
    rerun: str = "pdr3_wide"  # data release and layer, also pdr3_dud_rev
    url: str = URL
    cards: ClassVar[dict[str, str]] = {"SURVEY": "HSC"}

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", "".join(self.bands))
        if not self.bands or set(self.bands) - set("grizy"):
            raise ValueError(f"HSC has filters grizy, not {self.bands!r}")
        if not 0 < self.side_arcsec <= LARGEST_ARCSEC:
            raise ValueError(
                f"HSC cuts up to {LARGEST_ARCSEC:g} arcsec a side, not {self.side_arcsec:g}"
            )

    def _stamp(self, band: str, images: Any, place: Place, http: Http) -> Stamp:
        half, survey = f"{self.side_arcsec / 2:g}arcsec", find_survey(self.survey)
        query: Query = {
            "ra": place.ra, "dec": place.dec, "sw": half, "sh": half, "type": "coadd",
            "image": "on", "mask": "off", "variance": "off", "filter": f"HSC-{band.upper()}",
            "rerun": self.rerun,
        }  # fmt: skip
        with http_errors(place.label, no_data=(404,), refused=(400,)):
            data = http.get(self.url, params=query, auth=_account())
        side = math.ceil(self.side_arcsec / survey.pixel_scale_arcsec)
        return flux_stamp(data, place.label, survey, side=side, slack=_ROUNDING_PX)


def _account() -> tuple[str, str]:
    try:
        return os.environ[USER], os.environ[PASSWORD]
    except KeyError as error:
        raise CatalogError(
            f"HSC cutouts need an account: register at hsc-release.mtk.nao.ac.jp and set {USER} "
            f"and {PASSWORD} in the environment ({error.args[0]} is not set)"
        ) from error
