"""Cutouts by the protocols of the Virtual Observatory, through pyvo.

A Simple Image Access service says which images cover a position; one image per band is chosen and
cut where it lies, never downloaded whole:

========  =====================================================================================
``soda``  the image's DataLink names a SODA service, which is given ``CIRCLE`` (Rubin)
``ibe``   the address takes ``center`` and ``size`` (IRSA; Euclid among others)
``sia``   the address itself is a cutout, as asked for by ``POS`` and ``SIZE`` (NOIRLab, SIA 1)
========  =====================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import numpy as np

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
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.surveys import Band, get_survey

if TYPE_CHECKING:
    from catalogs.archives.http import Http

__all__ = ["SimpleImageAccess"]

_LIMITS = Limits(requests_per_second=4, concurrency=4)


@dataclass(frozen=True, kw_only=True)
class SimpleImageAccess(Footprinted):
    """Images of one survey in one SIA service.

    Attributes
    ----------
    survey : str
        What the images are of: a built-in name or a TOML file.
    url : str
        The service's query address.
    cut : {"soda", "ibe", "sia"}
        How an image is cut; ``sia`` means version 1 of the protocol.
    collection : str
        Only images of this collection (SIA 2).
    select : mapping of str to str
        Columns an image's record must match, as ``{"dataproduct_subtype": "lsst.deep_coadd"}``;
        ``{band}`` stands for the band's name.
    side_arcsec : float
        Side of a cutout [arcsec].
    bands : tuple of str, or str
        The survey's bands to get; by default all.
    token : str
        Environment variable that holds the access token, where one is needed.
    limits : Limits
        What the service bears.

    Raises
    ------
    ValueError
        If the side is not positive or `cut` is unknown.
    """

    survey: str
    url: str
    cut: Literal["soda", "ibe", "sia"]
    collection: str = ""
    select: Mapping[str, str] = field(default_factory=dict)
    side_arcsec: float = 45.0
    bands: tuple[str, ...] | str = ()
    token: str = ""
    limits: Limits = _LIMITS
    suffix: str = ".fits"

    def __post_init__(self) -> None:
        survey = get_survey(self.survey)
        asked = (self.bands,) if isinstance(self.bands, str) else tuple(self.bands)
        object.__setattr__(self, "bands", asked or survey.band_names)
        for band in self.bands:
            survey.band(band)
        if self.cut not in ("soda", "ibe", "sia"):
            raise ValueError(f"cut is soda, ibe or sia, not {self.cut!r}")
        if not self.side_arcsec > 0:
            raise ValueError(f"side_arcsec must be positive but is {self.side_arcsec}")

    @property
    def service(self) -> str:
        """The service's host, which the limiter and the cache go by."""
        return urlsplit(self.url).netloc

    def identity(self) -> Mapping[str, str | int | float]:
        """Return what decides a cutout's bytes besides its position."""
        return {
            "url": self.url,
            "cut": self.cut,
            "collection": self.collection,
            "select": ",".join(f"{name}={value}" for name, value in sorted(self.select.items())),
            "side_arcsec": self.side_arcsec,
            "bands": ",".join(self.bands),
        }

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Get one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`.

        Raises
        ------
        CatalogError
            Also if the access token is not in the environment.
        """
        what = f"{self.service} at {ra:.5f}, {dec:.5f}"
        survey = get_survey(self.survey)
        side = self.side_arcsec / survey.pixel_scale_arcsec
        records = self._search(ra, dec, http, what)
        stamps = {}
        for band in map(survey.band, self.bands):
            record = self._choose(records, band, ra, dec, what)
            data = self._cut(record, ra, dec, http, what)
            stamp = read_fits(data, f"{what} {band.name}")
            pixels = on_zeropoint(stamp, survey, what)
            check_flux(pixels, f"{what} {band.name}", planes=1)
            stamps[band.name] = Stamp(pixels, stamp.header)
            check_reach(stamps[band.name], ra, dec, side, f"{what} {band.name}")
        cards = {"BUNIT": survey.flux_unit} if survey.flux_unit != "count" else {}
        return write_cube(stamps, what, cards)

    def _search(self, ra: float, dec: float, http: Http, what: str) -> list[Any]:
        """Return the records of images that cover a position."""
        from pyvo.dal import SIA2Service, SIAService

        degrees = self.side_arcsec / 3600
        if self.cut == "sia":
            service = SIAService(self.url, session=self._session())
            ask = partial(service.search, pos=(ra, dec), size=degrees)
        else:
            service = SIA2Service(self.url, session=self._session(), check_baseurl=False)
            only = self.collection or None
            ask = partial(service.search, pos=(ra, dec, degrees / 2), collection=only)
        return list(_ask(http, ask, what))

    def _choose(self, records: list[Any], band: Band, ra: float, dec: float, what: str) -> Any:
        """Return the record of a band whose image centre is nearest."""
        fitting = [
            record
            for record in records
            if _holds(record, band)
            and all(
                _text(record, name) == value.format(band=band.name)
                for name, value in self.select.items()
            )
        ]
        if not fitting:
            raise CutoutError(
                f"{what}: no {band.name} image among {len(records)} here", status="no_data"
            )
        return min(fitting, key=lambda record: _distance_deg(record, ra, dec))

    def _cut(self, record: Any, ra: float, dec: float, http: Http, what: str) -> bytes:
        url = _text(record, "access_url") or str(record.getdataurl())
        query: Mapping[str, str | int | float] = {}
        if self.cut == "ibe":
            query = {
                "center": f"{ra},{dec}deg",
                "size": f"{self.side_arcsec}arcsec",
                "gzip": "false",
            }
        if self.cut == "soda":
            url, query = self._soda(record, ra, dec, http, what)
        return _get(http, url, query, self._account(), what)

    def _soda(
        self, record: Any, ra: float, dec: float, http: Http, what: str
    ) -> tuple[str, Mapping[str, str]]:
        """Return the address and parameters that cut a circle out of an image."""
        import astropy.units as u
        from pyvo.dal import DALServiceError
        from pyvo.dal.adhoc import SODA_SYNC_IVOID, DatalinkResults, SodaQuery

        session, address = self._session(), _text(record, "access_url")
        form = _text(record, "access_format")
        if "content=datalink" not in form:
            raise CatalogError(
                f"{what}: the image comes as {form!r}, without DataLink, so that it could only be "
                "downloaded whole; is `cut` right for this service?"
            )
        links = _ask(http, partial(DatalinkResults.from_result_url, address, session=session), what)
        try:
            resource = links.get_adhocservice_by_ivoid(SODA_SYNC_IVOID)
        except DALServiceError as error:
            raise CatalogError(f"{what}: {address} names no SODA service to cut with") from error
        radius = self.side_arcsec / 3600 / np.sqrt(2)  # the square lies within the circle
        circle = (ra, dec, radius) * u.deg
        query = SodaQuery.from_resource(links[0], resource, circle=circle, session=session)
        return query.queryurl, dict(query)

    def _account(self) -> tuple[str, str] | None:
        """Return the token as the account that token services take for it."""
        if not self.token:
            return None
        if self.token not in os.environ:
            raise CatalogError(
                f"{self.service}: needs an access token in the environment variable {self.token}"
            )
        return os.environ[self.token], "x-oauth-basic"

    def _session(self) -> Any:
        from pyvo.utils.http import create_session

        session = create_session()
        session.auth = self._account()
        return session


def _ask(http: Http, question: Any, what: str) -> Any:
    """Put a question to a service by pyvo."""
    from pyvo.dal import DALFormatError, DALQueryError

    from catalogs.archives.http import HttpError

    try:
        return http.call(question)
    except DALFormatError as error:
        raise CutoutError(f"{what}: expected a VOTable ({error})") from error
    except DALQueryError as error:
        raise CatalogError(f"{what}: the service does not take this ({error})") from error
    except HttpError as error:
        if error.code in (400, 404):
            raise CatalogError(f"{what}: does not take this request ({error})") from error
        raise


def _get(
    http: Http,
    url: str,
    query: Mapping[str, str | int | float],
    account: tuple[str, str] | None,
    what: str,
) -> bytes:
    """Get a cut image; 204, 400 and 404 say that the image does not reach the position."""
    from catalogs.archives.http import HttpError

    try:
        data = http.get(url, params=query or None, auth=account)
    except HttpError as error:
        if error.code in (400, 404):
            raise CutoutError(f"{what}: nothing to cut ({error})", status="no_data") from error
        raise
    if not data:
        raise CutoutError(f"{what}: nothing to cut (empty reply)", status="no_data")
    return data


def _holds(record: Any, band: Band) -> bool:
    """Whether a record's wavelengths [m] hold the band's, where it gives them."""
    low, high = _number(record, "em_min"), _number(record, "em_max")
    return not low <= high or low <= band.wavelength_nm * 1e-9 <= high


def _distance_deg(record: Any, ra: float, dec: float) -> float:
    """Separation of a record's centre [deg]; infinite where it gives none."""
    there = _number(record, "s_ra"), _number(record, "s_dec")
    separation = separation_arcsec(ra, dec, *there) / 3600
    return float(separation) if np.isfinite(separation) else np.inf


def _number(record: Any, name: str) -> float:
    value = record.get(name)
    return np.nan if value is None or np.ma.is_masked(value) else float(value)


def _text(record: Any, name: str) -> str:
    return str(record.get(name, "", decode=True)).strip()
