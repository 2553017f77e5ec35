"""Pan-STARRS1 3π stacks from STScI, linearised, per second, all bands in one file.

``ps1filenames.py`` lists the stack of each filter at a position; ``fitscut.cgi`` cuts one. Stacks
are stored with an asinh compression, undone by

    flux = BOFFSET + BSOFTEN * 2 sinh(value / α),   α = 2.5 log10(e)

(Pan-STARRS IPP wiki, "asinh_compression"; Waters et al. 2020, ApJS 251, 4). fitscut has undone it
itself since 2019; stamps that still need it have the cards ``BSOFTEN`` and ``BOFFSET``
(outerspace.stsci.edu, "PS1 Stack images"). Then AB = 25 + 2.5 log10(EXPTIME) - 2.5 log10(flux).
The exposure time differs by band, so each band is divided by its own and ``EXPTIME`` becomes 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from catalogs.archives.errors import http_errors
from catalogs.archives.http import Http, Query
from catalogs.archives.limits import Limits
from catalogs.archives.source import BandSource
from catalogs.archives.stamps import Place, Stamp, flux_stamp
from galaxy_da.errors import CutoutError
from galaxy_da.surveys import find_survey

URL = "https://ps1images.stsci.edu/cgi-bin"

_FILTERS = "grizy"


@dataclass(frozen=True, kw_only=True)
class PanStarrs(BandSource):
    """The image cutout service of the PS1 archive."""

    survey: str = "ps1"
    service: str = "ps1images.stsci.edu"
    limits: ClassVar[Limits] = Limits(requests_per_second=8, concurrency=4)
    size_px: int = 180  # of 0.25″
    bands: str = _FILTERS  # in the order of the cube
    url: str = URL  # folder of ps1filenames.py and fitscut.cgi
    cards: ClassVar[dict[str, str]] = {"SURVEY": "PS1"}
    product: ClassVar[dict[str, str | int]] = {"type": "stack"}

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", "".join(self.bands))
        if not self.bands or set(self.bands) - set(_FILTERS):
            raise ValueError(f"PS1 stacks have filters {_FILTERS}, not {self.bands!r}")
        if self.size_px < 1:
            raise ValueError(f"size_px must be positive but is {self.size_px}")

    def _images(self, place: Place, http: Http) -> dict[str, str]:
        ra, dec, label = place
        query: Query = {"ra": ra, "dec": dec, "filters": self.bands, "type": "stack"}
        with http_errors(f"{label}: ps1filenames.py", refused=(400, 404)):
            text = http.get(f"{self.url}/ps1filenames.py", params=query).decode(errors="replace")
        head, *rows = [line.split() for line in text.splitlines() if line.strip()] or [[]]
        if not {"filter", "filename"} <= set(head):
            raise CutoutError(f"{label}: expected a list of stacks but got {text[:60]!r}")
        table = [dict(zip(head, row, strict=False)) for row in rows]
        files = {row["filter"]: row["filename"] for row in table}
        if missing := sorted(set(self.bands) - set(files)):
            raise CutoutError(f"{label}: no stack in {', '.join(missing)} here", status="no_data")
        return files

    def _stamp(self, band: str, images: Mapping[str, str], place: Place, http: Http) -> Stamp:
        ra, dec, label = place
        query: Query = {
            "red": images[band], "ra": ra, "dec": dec, "size": self.size_px, "format": "fits"
        }  # fmt: skip
        with http_errors(f"{label}: fitscut.cgi", refused=(400, 404)):
            data = http.get(f"{self.url}/fitscut.cgi", params=query)
        return flux_stamp(data, label, find_survey(self.survey), side=self.size_px)
