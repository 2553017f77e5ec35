"""Euclid MER mosaics from the ESA Euclid Science Archive, through astroquery.

A TAP query says which background-subtracted mosaic of each filter covers the position; the
archive's cutout service cuts a square around a circle out of it, one mosaic at a time.

Both go through astroquery's client of this archive, `TapPlus`, as `EuclidClass.launch_job` and
`get_cutout` do; those two turn every failure into a log line and None, so that "not there", "no
account" and "busy" would look alike. `_connection` keeps the code and the headers of the reply.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from catalogs.archives.footprints import Footprinted
from catalogs.archives.limits import Limits
from catalogs.archives.stamps import (
    Stamp,
    check_flux,
    check_reach,
    on_zeropoint,
    read_fits,
    write_cube,
)
from galaxy_da.errors import CatalogError, CutoutError
from galaxy_da.surveys import get_survey

if TYPE_CHECKING:
    from catalogs.archives.http import Http

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
        What the cutouts are of: a built-in name or a TOML file whose bands are named as the
        archive's filters (VIS, NIR_Y, NIR_J, NIR_H).
    url : str
        The archive.

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

    def identity(self) -> Mapping[str, str | int | float]:
        """Return what decides a cutout's bytes besides its position."""
        return {
            "url": self.url,
            "side_arcsec": self.side_arcsec,
            "bands": ",".join(get_survey(self.survey).band_names),
            "product": "DpdMerBksMosaic",
        }

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Get one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        what = f"{self.service} at {ra:.5f}, {dec:.5f}"
        survey = get_survey(self.survey)
        side = self.side_arcsec / survey.pixel_scale_arcsec
        stamps = {}
        for band in survey.band_names:
            mosaic = self._mosaic(ra, dec, band, http, what)
            stamp = read_fits(self._cut(ra, dec, band, mosaic, http, what), f"{what} {band}")
            pixels = on_zeropoint(stamp, survey, what)
            check_flux(pixels, f"{what} {band}", planes=1)
            stamps[band] = Stamp(pixels, stamp.header)
            check_reach(stamps[band], ra, dec, side, f"{what} {band}")
        return write_cube(stamps, what, {"MAGZERO": survey.zeropoint_mag})

    def _mosaic(self, ra: float, dec: float, band: str, http: Http, what: str) -> Mapping[str, Any]:
        """Return the record of the mosaic whose centre is nearest."""
        query = _QUERY.format(ra=ra, dec=dec, band=band, instrument=_INSTRUMENTS[band])

        def ask() -> Any:
            try:
                with _archive(self.url, "tap-server", tap="tap") as archive:
                    return archive.launch_job(query, output_format="votable").get_results()
            except (ValueError, IndexError) as error:  # of astropy, and no network's fault
                raise CutoutError(f"{what}: expected a VOTable ({error})") from error

        rows = _ask(http, ask, what)
        if not len(rows):
            raise CutoutError(f"{what}: no {band} mosaic covers it", status="outside_footprint")
        from astropy.coordinates import SkyCoord

        here = SkyCoord(ra, dec, unit="deg")
        centres = SkyCoord(rows["ra"], rows["dec"], unit="deg")
        row = rows[int(here.separation(centres).argmin())]
        return {name: str(row[name]) for name in ("file_path", "file_name", "tile_index")}

    def _cut(
        self, ra: float, dec: float, band: str, mosaic: Mapping[str, Any], http: Http, what: str
    ) -> bytes:
        query = {
            "TAPCLIENT": "ASTROQUERY",
            "FILEPATH": f"{mosaic['file_path']}/{mosaic['file_name']}",
            "COLLECTION": _INSTRUMENTS[band],
            "OBSID": mosaic["tile_index"],
            "POS": f"CIRCLE,{ra},{dec},{self.side_arcsec / 2 / 3600}",
        }

        def ask() -> bytes:
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

        return bytes(_ask(http, ask, what))


def _ask(http: Http, question: Callable[[], Any], what: str) -> Any:
    """Put a question to the archive."""
    from catalogs.archives.http import HttpError

    try:
        return http.call(question)
    except HttpError as error:
        if error.code == 404:
            raise CutoutError(f"{what}: {error}", status="no_data") from error
        if error.code == 400:
            raise CatalogError(f"{what}: does not take this request ({error})") from error
        raise


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
