"""Euclid MER mosaics from the ESA Euclid Science Archive.

A TAP query finds the background-subtracted mosaic of each filter that covers the position. The
archive's cutout service then cuts a square around a circle out of it, one mosaic at a time, by the
form of astroquery's `EuclidClass.get_cutout`. That method itself turns every failure into a log
line and None, so that "not there", "no account" and "busy" would look alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from catalogs.archives.errors import http_errors
from catalogs.archives.http import Http, Query
from catalogs.archives.limits import Limits
from catalogs.archives.protocol import ArchiveSource
from catalogs.archives.sia import call_pyvo
from catalogs.archives.stamps import check_reach, flux_stamp, write_cube
from galaxy_da.errors import CutoutError
from galaxy_da.images.calibration import calibration_cards
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.surveys import find_survey

__all__ = ["LARGEST_ARCSEC", "URL", "Euclid"]

URL = "https://eas.esac.esa.int/"
LARGEST_ARCSEC = 3600.0  # widest request: the service takes radii of up to 0.5 deg

_INSTRUMENTS = {"VIS": "VIS", "NIR_Y": "NISP", "NIR_J": "NISP", "NIR_H": "NISP"}
_QUERY = """
SELECT file_path, file_name, tile_index, ra, dec FROM sedm.mosaic_product
WHERE instrument_name = '{instrument}' AND filter_name = '{band}' AND category = 'SCIENCE'
AND CONTAINS(POINT('ICRS', {ra:.8f}, {dec:.8f}), fov) = 1
"""


@dataclass(frozen=True, kw_only=True)
class Euclid(ArchiveSource):
    """The cutout service of the Euclid Science Archive.

    `survey` is a built-in name, or a TOML file whose bands are named as the archive's filters (VIS,
    NIR_Y, NIR_J, NIR_H).
    """

    side_arcsec: float = 40.0
    survey: str = "euclid-vis"
    url: str = URL
    service: ClassVar[str] = "euclid-sas"
    limits: ClassVar[Limits] = Limits(requests_per_second=4, concurrency=4)
    suffix: ClassVar[str] = ".fits"

    def __post_init__(self) -> None:
        unknown = set(find_survey(self.survey).band_names) - set(_INSTRUMENTS)
        if unknown:
            raise ValueError(
                f"the archive has mosaics in {', '.join(_INSTRUMENTS)}, not {', '.join(unknown)}"
            )
        if not 0 < self.side_arcsec <= LARGEST_ARCSEC:
            raise ValueError(
                f"the archive cuts up to {LARGEST_ARCSEC:g} arcsec, not {self.side_arcsec:g}"
            )

    def identity(self) -> Query:
        """Return everything besides the position that decides a cutout's bytes."""
        bands = ",".join(find_survey(self.survey).band_names)
        return {**super().identity(), "bands": bands, "product": "DpdMerBksMosaic"}

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Fetch one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        label = f"{self.service} at {ra:.5f}, {dec:.5f}"
        survey = find_survey(self.survey)
        side = self.side_arcsec / survey.pixel_scale_arcsec
        stamps = {}
        for band in survey.band_names:
            mosaic = self._mosaic(ra, dec, band, http, label)
            data = self._cut(ra, dec, band, mosaic, http, label)
            stamps[band] = flux_stamp(data, f"{label} {band}", survey)
            check_reach(stamps[band], ra, dec, side, f"{label} {band}")
        return write_cube(stamps, label, calibration_cards(survey))

    def _mosaic(
        self, ra: float, dec: float, band: str, http: Http, label: str
    ) -> Mapping[str, str]:
        """Return the record of the mosaic whose centre is nearest."""
        from pyvo.dal import TAPService

        query = _QUERY.format(ra=ra, dec=dec, band=band, instrument=_INSTRUMENTS[band])
        archive = TAPService(f"{self.url.rstrip('/')}/tap-server/tap")
        rows = call_pyvo(http, partial(archive.run_sync, query), label).to_table()
        if not len(rows):
            raise CutoutError(f"{label}: no {band} mosaic covers it", status="outside_footprint")
        row = rows[int(separation_arcsec(ra, dec, rows["ra"], rows["dec"]).argmin())]
        return {name: str(row[name]) for name in ("file_path", "file_name", "tile_index")}

    def _cut(
        self, ra: float, dec: float, band: str, mosaic: Mapping[str, str], http: Http, label: str
    ) -> bytes:
        form: Query = {
            "TAPCLIENT": "ASTROQUERY",
            "FILEPATH": f"{mosaic['file_path']}/{mosaic['file_name']}",
            "COLLECTION": _INSTRUMENTS[band],
            "OBSID": mosaic["tile_index"],
            "POS": f"CIRCLE,{ra},{dec},{self.side_arcsec / 2 / 3600}",
        }
        with http_errors(label, no_data=(404,), refused=(400,)):
            return http.post(f"{self.url.rstrip('/')}/sas-cutout/cutout", form)
