"""Cutouts of the Legacy Surveys from their sky viewer (``cutout.fits``, ``cutout.jpg``).

The viewer serves coadds interpolated onto any pixel scale, in nanomaggies per 0.262″ pixel. Its
joint layers (``ls-dr9``) change telescope at Dec 32.375°, so a source names one half. The viewer
silently clips requests beyond 3,000 pixels a side, answers HTTP 400 without a position, and returns
a blank stamp outside the footprint (github.com/dstndstn/imagine, ``map/views.py``).

By default the layer is that of DR11. A viewer that does not serve it is asked for the release
before, once for a whole fetch, so that no fetch mixes two releases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from catalogs.archives.errors import http_errors
from catalogs.archives.http import Http, Query
from catalogs.archives.limits import Limits
from catalogs.archives.source import CutoutSource
from catalogs.archives.stamps import check_colour, check_flux, read_fits
from galaxy_da.errors import CatalogError
from galaxy_da.surveys import find_survey

URL = "https://www.legacysurvey.org/viewer"
LARGEST_PX = 3000
RELEASE = "ls-dr11"
"""Newest release of the Legacy Surveys, as its layers begin."""

_LAYER = re.compile(r"ls-dr\d+(\.\d+)?-(?P<half>north|south)(-model|-resid)?")
_HALVES = {"decals": "south", "decals-dr11": "south", "bass-mzls": "north"}


@dataclass(frozen=True, kw_only=True)
class LegacySurvey(CutoutSource):
    """The sky viewer of the Legacy Surveys."""

    survey: str = "decals"  # the southern half; bass-mzls is the northern one
    service: str = "legacysurvey.org"
    limits: ClassVar[Limits] = Limits(requests_per_second=5, concurrency=4)
    layer: str = ""  # such as ls-dr10-south; by default that of DR11
    fallback: str = ""  # layer in place of one that the viewer does not serve
    size_px: int = 160
    pixel_scale_arcsec: float = 0.262
    bands: str = "grz"  # one letter each, in the order of the cube
    form: Literal["fits", "jpg"] = "fits"  # flux, or the viewer's colours
    url: str = URL

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", "".join(self.bands))
        object.__setattr__(self, "suffix", f".{self.form}")
        if self.survey not in _HALVES:
            raise ValueError(f"the viewer's surveys are {', '.join(_HALVES)}, not {self.survey!r}")
        half = _HALVES[self.survey]
        if not self.layer:
            before = find_survey(self.survey).cutout_service.partition(":")[2]
            object.__setattr__(self, "layer", f"{RELEASE}-{half}")
            object.__setattr__(self, "fallback", before if before != self.layer else "")
        named = _LAYER.fullmatch(self.layer)
        if named is None or named["half"] != half:
            raise ValueError(
                f"layer {self.layer!r} is not one of {self.survey}: name the half explicitly, as "
                f"ls-dr10-{half} or ls-dr9-{half}; joint layers change telescope at Dec 32.375"
            )
        if not 1 <= self.size_px <= LARGEST_PX:
            raise ValueError(
                f"the viewer cuts at most {LARGEST_PX} pixels a side, not {self.size_px}"
            )
        if self.form not in ("fits", "jpg"):
            raise ValueError(f"form is fits or jpg, not {self.form!r}")
        if self.form == "jpg" and self.bands != "grz":
            raise ValueError("colour cutouts are of bands grz: the stretch of others is unknown")

    def settled(self, http: Http, ra: float, dec: float, before: Mapping[str, Any]) -> Self:
        """Return the source with the layer of an earlier run, or the newest that is served."""
        if not self.fallback:
            return self
        layer = before.get("layer")
        if layer not in (self.layer, self.fallback):
            label = f"{self.service} {self.layer} at {ra:.5f}, {dec:.5f}"
            query: Query = {"ra": ra, "dec": dec, "layer": self.layer, "size": 8, "bands": "r"}
            layer = self.layer
            try:
                with http_errors(label, refused=(400, 404)):
                    http.get(f"{self.url}/cutout.fits", params=query)
            except CatalogError:
                layer = self.fallback
        return replace(self, layer=layer, fallback="")

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Fetch one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        label = f"{self.service} {self.layer} at {ra:.5f}, {dec:.5f}"
        query: Query = {
            "ra": ra, "dec": dec, "layer": self.layer, "pixscale": self.pixel_scale_arcsec,
            "size": self.size_px, "bands": self.bands,
        }  # fmt: skip
        with http_errors(label, refused=(400, 404)):
            data = http.get(f"{self.url}/cutout.{self.form}", params=query)
        if self.form == "jpg":
            check_colour(data, label, side=self.size_px)
        else:
            pixels = read_fits(data, label, find_survey(self.survey)).pixels
            check_flux(pixels, label, planes=len(self.bands), side=self.size_px)
        return data
