"""Euclid MER mosaics from the ESA Euclid Science Archive, through astroquery.

A TAP query finds the background-subtracted mosaic of each filter that covers the position. The
archive's cutout service then cuts a square around a circle out of it, one mosaic at a time.

Both requests use astroquery's `TapPlus`, as `EuclidClass.launch_job` and `get_cutout` do. Those two
turn every failure into a log line and None, so that "not there", "no account" and "busy" would look
alike; `_connection` keeps the code and the headers of the reply.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from catalogs.archives.errors import http_errors
from catalogs.archives.footprints import Footprinted
from catalogs.archives.http import Http
from catalogs.archives.limits import Limits
from catalogs.archives.protocol import Query
from catalogs.archives.stamps import (
    check_flux,
    check_reach,
    on_zeropoint,
    read_fits,
    write_cube,
)
from galaxy_da.errors import CutoutError
from galaxy_da.surveys import get_survey

__all__ = ["LARGEST_ARCSEC", "URL", "Euclid"]

URL = "https://eas.esac.esa.int/"
LARGEST_ARCSEC = 3600.0
"""Widest request: the service takes radii of up to 0.5 deg."""

_TIMEOUT_S = 60
_INSTRUMENTS = {"VIS": "VIS", "NIR_Y": "NISP", "NIR_J": "NISP", "NIR_H": "NISP"}
_QUERY = """
SELECT file_path, file_name, tile_index, ra, dec FROM sedm.mosaic_product
WHERE instrument_name = '{instrument}' AND filter_name = '{band}' AND category = 'SCIENCE'
AND CONTAINS(POINT('ICRS', {ra:.8f}, {dec:.8f}), fov) = 1
"""


@dataclass(frozen=True, kw_only=True)
class Euclid(Footprinted):
    """The cutout service of the Euclid Science Archive.

    Attributes
    ----------
    side_arcsec : float
        Side of a cutout [arcsec].
    survey : str
        Built-in name, or a TOML file whose bands are named as the archive's filters (VIS, NIR_Y,
        NIR_J, NIR_H).
    url : str
        Address of the archive.

    Raises
    ------
    ValueError
        If the archive lacks a band, or the side is too large.
    """

    side_arcsec: float = 40.0
    survey: str = "euclid-vis"
    url: str = URL
    service: ClassVar[str] = "euclid-sas"
    limits: ClassVar[Limits] = Limits(requests_per_second=4, concurrency=4)
    suffix: ClassVar[str] = ".fits"

    def __post_init__(self) -> None:
        unknown = set(get_survey(self.survey).band_names) - set(_INSTRUMENTS)
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
        return {
            "url": self.url,
            "side_arcsec": self.side_arcsec,
            "bands": ",".join(get_survey(self.survey).band_names),
            "product": "DpdMerBksMosaic",
        }

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Fetch one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        label = f"{self.service} at {ra:.5f}, {dec:.5f}"
        survey = get_survey(self.survey)
        side = self.side_arcsec / survey.pixel_scale_arcsec
        stamps = {}
        for band in survey.band_names:
            mosaic = self._mosaic(ra, dec, band, http, label)
            data = self._cut(ra, dec, band, mosaic, http, label)
            stamp = on_zeropoint(read_fits(data, f"{label} {band}"), survey, label)
            check_flux(stamp.pixels, f"{label} {band}", planes=1)
            check_reach(stamp, ra, dec, side, f"{label} {band}")
            stamps[band] = stamp
        return write_cube(stamps, label, {"MAGZERO": survey.zeropoint_mag})

    def _mosaic(
        self, ra: float, dec: float, band: str, http: Http, label: str
    ) -> Mapping[str, Any]:
        """Return the record of the mosaic whose centre is nearest."""
        query = _QUERY.format(ra=ra, dec=dec, band=band, instrument=_INSTRUMENTS[band])

        def request() -> Any:
            try:
                with _archive(self.url, "tap-server", tap="tap") as archive:
                    return archive.launch_job(query, output_format="votable").get_results()
            except (ValueError, IndexError) as error:  # of astropy's parser, not of the network
                raise CutoutError(f"{label}: expected a VOTable ({error})") from error

        rows = _call(http, request, label)
        if not len(rows):
            raise CutoutError(f"{label}: no {band} mosaic covers it", status="outside_footprint")
        from astropy.coordinates import SkyCoord

        here = SkyCoord(ra, dec, unit="deg")
        centres = SkyCoord(rows["ra"], rows["dec"], unit="deg")
        row = rows[int(here.separation(centres).argmin())]
        return {name: str(row[name]) for name in ("file_path", "file_name", "tile_index")}

    def _cut(
        self, ra: float, dec: float, band: str, mosaic: Mapping[str, Any], http: Http, label: str
    ) -> bytes:
        query = {
            "TAPCLIENT": "ASTROQUERY",
            "FILEPATH": f"{mosaic['file_path']}/{mosaic['file_name']}",
            "COLLECTION": _INSTRUMENTS[band],
            "OBSID": mosaic["tile_index"],
            "POS": f"CIRCLE,{ra},{dec},{self.side_arcsec / 2 / 3600}",
        }

        def request() -> bytes:
            with (
                tempfile.TemporaryDirectory() as folder,
                _archive(self.url, "sas-cutout", data="cutout") as archive,
            ):
                path = Path(folder) / "cutout.fits"
                archive.load_data(params_dict=query, output_file=str(path))
                data = path.read_bytes()
                length = archive.connection.length
                if length is not None and int(length) != len(data):
                    raise ConnectionError(f"{len(data)} of {length} bytes came")
                return data

        return bytes(_call(http, request, label))


def _call(http: Http, request: Callable[[], Any], label: str) -> Any:
    with http_errors(label, no_data=(404,), refused=(400,)):
        return http.call(request)


@contextmanager
def _archive(url: str, server: str, *, tap: str = "", data: str = "") -> Iterator[Any]:
    """Yield astroquery's client of one of the archive's services; its sockets end with it."""
    from astroquery.utils.tap.conn.tapconn import ConnectionHandler
    from astroquery.utils.tap.core import TapPlus

    opened = []

    class Sockets(ConnectionHandler):  # type: ignore[misc]
        def get_connection(self, **options: Any) -> Any:
            opened.append(super().get_connection(**options))
            opened[-1].timeout = _TIMEOUT_S
            return opened[-1]

    try:
        connection = _connection(url, server, tap, data, Sockets)
        archive = TapPlus(url=url, connhandler=connection)
        archive.connection = connection
        yield archive
    finally:
        for socket in opened:
            socket.close()


def _connection(url: str, server: str, tap: str, data: str, sockets: Callable[..., Any]) -> Any:
    """Return a connection that raises errors with their code and headers."""
    import requests
    from astroquery.utils.tap.conn.tapconn import TapConn

    class Connection(TapConn):  # type: ignore[misc]
        length: str | None = None  # of the last reply [bytes]

        def check_launch_response_status(
            self, response: Any, debug: bool, expected: int, **options: Any
        ) -> bool:
            self.length = response.getheader("Content-Length")
            if response.status == expected:
                return False
            reply = requests.Response()
            reply.status_code, reply.reason = response.status, response.reason
            reply.headers.update(response.getheaders())
            response.close()
            raise requests.HTTPError(f"HTTP {response.status} {response.reason}", response=reply)

    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    return Connection(
        secure,
        parts.hostname,
        server_context=f"{parts.path.rstrip('/')}/{server}",
        tap_context=tap,
        data_context=data,
        port=port,
        sslport=port,
        connhandler=sockets(parts.hostname, port, port),
    )
