"""Euclid MER mosaics from the ESA Euclid Science Archive.

A TAP query finds the background-subtracted mosaic of each filter that covers the position. The
archive's cutout service then cuts a square around a circle out of it, one mosaic at a time, by the
form of astroquery's `EuclidClass.get_cutout`. That method itself turns every failure into a log
line and None, so that "not there", "no account" and "busy" would look alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from catalogs.archives.errors import http_errors
from catalogs.archives.http import Http, Query
from catalogs.archives.sia import call_pyvo
from catalogs.archives.source import BandSource
from catalogs.archives.stamps import Place, Stamp, reaching_stamp
from galaxy_da.errors import CutoutError
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.surveys import find_survey

URL = "https://eas.esac.esa.int/"
LARGEST_ARCSEC = 3600.0  # widest request: the service takes radii of up to 0.5 deg

_INSTRUMENTS = {"VIS": "VIS", "NIR_Y": "NISP", "NIR_J": "NISP", "NIR_H": "NISP"}
_QUERY = """
SELECT file_path, file_name, tile_index, ra, dec FROM sedm.mosaic_product
WHERE instrument_name = '{instrument}' AND filter_name = '{band}' AND category = 'SCIENCE'
AND CONTAINS(POINT('ICRS', {ra:.8f}, {dec:.8f}), fov) = 1
"""


@dataclass(frozen=True, kw_only=True)
class Euclid(BandSource):
    """The cutout service of the Euclid Science Archive.

    `survey` is a built-in name, or a TOML file whose bands are named as the archive's filters (VIS,
    NIR_Y, NIR_J, NIR_H).
    """

    survey: str = "euclid-vis"
    service: str = "euclid-sas"
    side_arcsec: float = 40.0
    url: str = URL
    product: ClassVar[dict[str, str | int]] = {"product": "DpdMerBksMosaic"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := set(self.bands) - set(_INSTRUMENTS):
            raise ValueError(
                f"the archive has mosaics in {', '.join(_INSTRUMENTS)}, not {', '.join(unknown)}"
            )
        if self.side_arcsec > LARGEST_ARCSEC:
            raise ValueError(
                f"the archive cuts up to {LARGEST_ARCSEC:g} arcsec, not {self.side_arcsec:g}"
            )

    def _stamp(self, band: str, images: None, place: Place, http: Http) -> Stamp:
        mosaic = self._mosaic(band, place, http)
        radius = self.side_arcsec / 2 / 3600
        form: Query = {
            "TAPCLIENT": "ASTROQUERY",
            "FILEPATH": f"{mosaic['file_path']}/{mosaic['file_name']}",
            "COLLECTION": _INSTRUMENTS[band],
            "OBSID": str(mosaic["tile_index"]),
            "POS": f"CIRCLE,{place.ra},{place.dec},{radius}",
        }
        with http_errors(place.label, no_data=(404,), refused=(400,)):
            data = http.post(f"{self.url.rstrip('/')}/sas-cutout/cutout", form)
        return reaching_stamp(data, place, find_survey(self.survey), self.side_arcsec)

    def _mosaic(self, band: str, place: Place, http: Http) -> Any:
        """Return the record of the mosaic whose centre is nearest."""
        from pyvo.dal import TAPService

        ra, dec, label = place
        query = _QUERY.format(ra=ra, dec=dec, band=band, instrument=_INSTRUMENTS[band])
        archive = TAPService(f"{self.url.rstrip('/')}/tap-server/tap")
        rows = call_pyvo(http, partial(archive.run_sync, query), label).to_table()
        if not len(rows):
            raise CutoutError(f"{label}: no mosaic covers it", status="outside_footprint")
        return rows[int(separation_arcsec(ra, dec, rows["ra"], rows["dec"]).argmin())]
