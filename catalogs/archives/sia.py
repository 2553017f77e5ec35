"""Cutouts by the protocols of the Virtual Observatory, through pyvo.

A Simple Image Access service lists the images that cover a position. One image per band is chosen
and cut by the service, never downloaded whole:

========  =====================================================================================
``soda``  the image's DataLink names a SODA service, which is given ``CIRCLE`` (Rubin)
``ibe``   the address takes ``center`` and ``size`` (IRSA; Euclid among others)
``sia``   the address itself is a cutout, set by ``POS`` and ``SIZE`` (NOIRLab, SIA 1)
========  =====================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np

from catalogs.archives.errors import http_errors
from catalogs.archives.http import Http
from catalogs.archives.limits import Limits
from catalogs.archives.protocol import ArchiveSource, Query, band_names
from catalogs.archives.stamps import (
    check_flux,
    check_reach,
    in_survey_flux,
    read_fits,
    write_cube,
)
from galaxy_da.errors import CatalogError, CutoutError
from galaxy_da.images.calibration import calibration_cards
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.surveys import Band, find_survey

__all__ = ["SimpleImageAccess", "call_pyvo"]

_LIMITS = Limits(requests_per_second=4, concurrency=4)


def call_pyvo(http: Http, request: Callable[[], Any], label: str) -> Any:
    """Make a request of pyvo under the limits and retries of a service.

    Raises
    ------
    CutoutError
        If the reply is not a VOTable, or the request kept failing.
    CatalogError
        If the service does not take the request.
    """
    from pyvo.dal import DALFormatError, DALQueryError

    try:
        with http_errors(label, refused=(400, 404)):
            return http.call(request)
    except DALFormatError as error:
        raise CutoutError(f"{label}: expected a VOTable ({error})") from error
    except DALQueryError as error:
        raise CatalogError(f"{label}: the service does not take this ({error})") from error


@dataclass(frozen=True, kw_only=True)
class SimpleImageAccess(ArchiveSource):
    """Images of one survey in one SIA service.

    Attributes
    ----------
    survey : str
        Survey of the images: a built-in name or a TOML file.
    url : str
        The service's query address.
    cut : {"soda", "ibe", "sia"}
        Method of the cut; ``sia`` means version 1 of the protocol.
    collection : str
        Collection of the images (SIA 2).
    select : mapping of str to str
        Columns an image's record must match, as ``{"dataproduct_subtype": "lsst.deep_coadd"}``;
        ``{band}`` stands for the band's name.
    side_arcsec : float
        Side of a cutout [arcsec].
    bands : tuple of str, or str
        Bands of the survey; by default all.
    token : str
        Environment variable of the access token, if one is needed.
    limits : Limits
        Limits of the service.

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
        survey = find_survey(self.survey)
        object.__setattr__(self, "bands", band_names(self.bands, survey) or survey.band_names)
        if self.cut not in ("soda", "ibe", "sia"):
            raise ValueError(f"cut is soda, ibe or sia, not {self.cut!r}")
        if not self.side_arcsec > 0:
            raise ValueError(f"side_arcsec must be positive but is {self.side_arcsec}")

    @property
    def service(self) -> str:
        """The service's host, the key of limiter and cache."""
        return urlsplit(self.url).netloc

    def identity(self) -> Query:
        """Return everything besides the position that decides a cutout's bytes."""
        select = ",".join(f"{name}={value}" for name, value in sorted(self.select.items()))
        return {**super().identity(), "select": select}

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Fetch one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`.

        Raises
        ------
        CatalogError
            Also if the access token is not in the environment.
        """
        label = f"{self.service} at {ra:.5f}, {dec:.5f}"
        survey = find_survey(self.survey)
        side = self.side_arcsec / survey.pixel_scale_arcsec
        records = self._search(ra, dec, http, label)
        stamps = {}
        for band in map(survey.band, self.bands):
            record = self._choose(records, band, ra, dec, label)
            data = self._cut(record, ra, dec, http, label)
            stamp = in_survey_flux(read_fits(data, f"{label} {band.name}", survey), survey, label)
            check_flux(stamp.pixels, f"{label} {band.name}", planes=1)
            check_reach(stamp, ra, dec, side, f"{label} {band.name}")
            stamps[band.name] = stamp
        return write_cube(stamps, label, calibration_cards(survey))

    def _search(self, ra: float, dec: float, http: Http, label: str) -> list[Any]:
        """Return the records of images that cover a position."""
        from pyvo.dal import SIA2Service, SIAService

        degrees = self.side_arcsec / 3600
        if self.cut == "sia":
            service = SIAService(self.url, session=self._session())
            request = partial(service.search, pos=(ra, dec), size=degrees)
        else:
            service = SIA2Service(self.url, session=self._session(), check_baseurl=False)
            only = self.collection or None
            request = partial(service.search, pos=(ra, dec, degrees / 2), collection=only)
        return list(call_pyvo(http, request, label))

    def _choose(self, records: list[Any], band: Band, ra: float, dec: float, label: str) -> Any:
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
                f"{label}: no {band.name} image among {len(records)} here", status="no_data"
            )
        return min(fitting, key=lambda record: _distance_deg(record, ra, dec))

    def _cut(self, record: Any, ra: float, dec: float, http: Http, label: str) -> bytes:
        url = _text(record, "access_url") or str(record.getdataurl())
        query: Query = {}
        if self.cut == "ibe":
            query = {
                "center": f"{ra},{dec}deg",
                "size": f"{self.side_arcsec}arcsec",
                "gzip": "false",
            }
        if self.cut == "soda":
            url, query = self._soda(record, ra, dec, http, label)
        return _get(http, url, query, self._account(), label)

    def _soda(
        self, record: Any, ra: float, dec: float, http: Http, label: str
    ) -> tuple[str, Query]:
        """Return the address and parameters that cut a circle out of an image."""
        import astropy.units as u
        from pyvo.dal import DALServiceError
        from pyvo.dal.adhoc import SODA_SYNC_IVOID, DatalinkResults, SodaQuery

        session, address = self._session(), _text(record, "access_url")
        form = _text(record, "access_format")
        if "content=datalink" not in form:
            raise CatalogError(
                f"{label}: the image comes as {form!r}, without DataLink, so that it could only be "
                "downloaded whole; is `cut` right for this service?"
            )
        links = call_pyvo(
            http, partial(DatalinkResults.from_result_url, address, session=session), label
        )
        try:
            resource = links.get_adhocservice_by_ivoid(SODA_SYNC_IVOID)
        except DALServiceError as error:
            raise CatalogError(f"{label}: {address} names no SODA service to cut with") from error
        radius = self.side_arcsec / 3600 / np.sqrt(2)  # the square lies within the circle
        circle = (ra, dec, radius) * u.deg
        query = SodaQuery.from_resource(links[0], resource, circle=circle, session=session)
        return query.queryurl, dict(query)

    def _account(self) -> tuple[str, str] | None:
        """Return the token as a basic account, the form that token services accept."""
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


def _get(http: Http, url: str, query: Query, account: tuple[str, str] | None, label: str) -> bytes:
    """Get a cut image; 204, 400 and 404 mean that the image does not reach the position."""
    with http_errors(label, no_data=(400, 404)):
        data = http.get(url, params=query or None, auth=account)
    if not data:
        raise CutoutError(f"{label}: nothing to cut (empty reply)", status="no_data")
    return data


def _holds(record: Any, band: Band) -> bool:
    """Compare a record's wavelengths [m], if it has any, with the band's."""
    low, high = _number(record, "em_min"), _number(record, "em_max")
    return not low <= high or low <= band.wavelength_nm * 1e-9 <= high


def _distance_deg(record: Any, ra: float, dec: float) -> float:
    """Separation of a record's centre [deg]; infinite if it has none."""
    there = _number(record, "s_ra"), _number(record, "s_dec")
    separation = separation_arcsec(ra, dec, *there) / 3600
    return float(separation) if np.isfinite(separation) else np.inf


def _number(record: Any, name: str) -> float:
    value = record.get(name)
    return np.nan if value is None or np.ma.is_masked(value) else float(value)


def _text(record: Any, name: str) -> str:
    return str(record.get(name, "", decode=True)).strip()
