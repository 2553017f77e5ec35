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

from dataclasses import dataclass
from typing import ClassVar

from catalogs.archives.errors import http_errors
from catalogs.archives.http import Http, Query
from catalogs.archives.limits import Limits
from catalogs.archives.protocol import ArchiveSource
from catalogs.archives.stamps import flux_stamp, write_cube
from galaxy_da.errors import CutoutError
from galaxy_da.images.calibration import calibration_cards
from galaxy_da.surveys import find_survey

__all__ = ["PIXEL_ARCSEC", "URL", "PanStarrs"]

URL = "https://ps1images.stsci.edu/cgi-bin"
PIXEL_ARCSEC = 0.25

_FILTERS = "grizy"


@dataclass(frozen=True, kw_only=True)
class PanStarrs(ArchiveSource):
    """The image cutout service of the PS1 archive."""

    size_px: int = 180  # of 0.25″
    bands: str = _FILTERS  # in the order of the cube
    url: str = URL  # folder of ps1filenames.py and fitscut.cgi
    survey: ClassVar[str] = "ps1"
    service: ClassVar[str] = "ps1images.stsci.edu"
    limits: ClassVar[Limits] = Limits(requests_per_second=8, concurrency=4)
    suffix: ClassVar[str] = ".fits"

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", "".join(self.bands))
        if not self.bands or set(self.bands) - set(_FILTERS):
            raise ValueError(f"PS1 stacks have filters {_FILTERS}, not {self.bands!r}")
        if self.size_px < 1:
            raise ValueError(f"size_px must be positive but is {self.size_px}")

    def identity(self) -> Query:
        """Return everything besides the position that decides a cutout's bytes."""
        return {**super().identity(), "type": "stack"}

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Fetch one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        label = f"{self.service} at {ra:.5f}, {dec:.5f}"
        survey = find_survey(self.survey)
        files = self._files(ra, dec, http, label)
        stamps = {}
        for band in self.bands:
            query: Query = {
                "red": files[band], "ra": ra, "dec": dec, "size": self.size_px, "format": "fits"
            }  # fmt: skip
            with http_errors(f"{label}: fitscut.cgi", refused=(400, 404)):
                data = http.get(f"{self.url}/fitscut.cgi", params=query)
            stamps[band] = flux_stamp(data, f"{label} {band}", survey, side=self.size_px)
        return write_cube(stamps, label, {**calibration_cards(survey), "SURVEY": "PS1"})

    def _files(self, ra: float, dec: float, http: Http, label: str) -> dict[str, str]:
        """Return the stack of each band at a position, from the service's text table."""
        query: Query = {"ra": ra, "dec": dec, "filters": self.bands, "type": "stack"}
        with http_errors(f"{label}: ps1filenames.py", refused=(400, 404)):
            text = http.get(f"{self.url}/ps1filenames.py", params=query).decode(errors="replace")
        head, *rows = [line.split() for line in text.splitlines() if line.strip()] or [[]]
        if not {"filter", "filename"} <= set(head):
            raise CutoutError(f"{label}: expected a list of stacks but got {text[:60]!r}")
        table = [dict(zip(head, row, strict=False)) for row in rows]
        files = {row["filter"]: row["filename"] for row in table}
        missing = set(self.bands) - set(files)
        if missing:
            raise CutoutError(
                f"{label}: no stack in {', '.join(sorted(missing))} here", status="no_data"
            )
        return files
