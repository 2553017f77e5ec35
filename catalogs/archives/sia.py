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
from catalogs.archives.http import Http, Query
from catalogs.archives.source import BandSource
from catalogs.archives.stamps import Place, Stamp, reaching_stamp
from galaxy_da.errors import CatalogError, CutoutError
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.surveys import Band, find_survey


def call_pyvo(http: Http, request: Callable[[], Any], label: str) -> Any:
    """Make a request of pyvo under the limits and retries of a service.

    A reply that is not a VOTable raises CutoutError, a request that the service does not take
    CatalogError.
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
class SimpleImageAccess(BandSource):
    """Images of one survey in one SIA service.

    `cut` is the method of the cut; ``sia`` means version 1 of the protocol. `select` has columns
    that an image's record must match, as ``{"dataproduct_subtype": "lsst.deep_coadd"}``; ``{band}``
    stands for the band's name.
    """

    service: str = ""  # the host of the query address
    url: str
    cut: Literal["soda", "ibe", "sia"]
    collection: str = ""  # of the images (SIA 2)
    select: Mapping[str, str] = field(default_factory=dict)
    side_arcsec: float = 45.0
    token: str = ""  # environment variable of the access token, if one is needed

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "service", urlsplit(self.url).netloc)
        if self.cut not in ("soda", "ibe", "sia"):
            raise ValueError(f"cut is soda, ibe or sia, not {self.cut!r}")

    def identity(self) -> Query:
        """Return everything besides the position that decides a cutout's bytes."""
        select = ",".join(f"{name}={value}" for name, value in sorted(self.select.items()))
        return {**super().identity(), "select": select}

    def _images(self, place: Place, http: Http) -> list[Any]:
        from pyvo.dal import SIA2Service, SIAService

        (ra, dec, label), degrees = place, self.side_arcsec / 3600
        if self.cut == "sia":
            service = SIAService(self.url, session=self._session())
            request = partial(service.search, pos=(ra, dec), size=degrees)
        else:
            service = SIA2Service(self.url, session=self._session(), check_baseurl=False)
            only = self.collection or None
            request = partial(service.search, pos=(ra, dec, degrees / 2), collection=only)
        return list(call_pyvo(http, request, label))

    def _stamp(self, band: str, images: list[Any], place: Place, http: Http) -> Stamp:
        survey = find_survey(self.survey)
        record = self._choose(images, survey.band(band), place)
        url = _text(record, "access_url") or str(record.getdataurl())
        query: Query | None = None
        if self.cut == "ibe":
            size = f"{self.side_arcsec}arcsec"
            query = {"center": f"{place.ra},{place.dec}deg", "size": size, "gzip": "false"}
        if self.cut == "soda":
            url, query = self._soda(record, place, http)
        with http_errors(place.label, no_data=(400, 404)):  # it does not reach the position
            data = http.get(url, params=query, auth=self._account())
        if not data:
            raise CutoutError(f"{place.label}: nothing to cut (empty reply)", status="no_data")
        return reaching_stamp(data, place, survey, self.side_arcsec)

    def _choose(self, records: list[Any], band: Band, place: Place) -> Any:
        """Return the record of a band whose image centre is nearest."""
        wanted = {name: value.format(band=band.name) for name, value in self.select.items()}
        fitting = [
            record
            for record in records
            if _holds(record, band) and {name: _text(record, name) for name in wanted} == wanted
        ]
        if not fitting:
            raise CutoutError(f"{place.label}: no image among {len(records)} here", "no_data")
        centres = [(_number(record, "s_ra"), _number(record, "s_dec")) for record in fitting]
        apart = separation_arcsec(place.ra, place.dec, *np.transpose(centres))
        return fitting[int(np.argmin(np.nan_to_num(apart, nan=np.inf)))]

    def _soda(self, record: Any, place: Place, http: Http) -> tuple[str, Query]:
        """Return the address and parameters that cut a circle out of an image."""
        import astropy.units as u
        from pyvo.dal import DALServiceError
        from pyvo.dal.adhoc import SODA_SYNC_IVOID, DatalinkResults, SodaQuery

        session, address = self._session(), _text(record, "access_url")
        form = _text(record, "access_format")
        if "content=datalink" not in form:
            raise CatalogError(
                f"{place.label}: the image comes as {form!r}, without DataLink, so that it could "
                "only be downloaded whole; is `cut` right for this service?"
            )
        request = partial(DatalinkResults.from_result_url, address, session=session)
        links = call_pyvo(http, request, place.label)
        try:
            resource = links.get_adhocservice_by_ivoid(SODA_SYNC_IVOID)
        except DALServiceError as error:
            raise CatalogError(f"{place.label}: {address} names no SODA service") from error
        radius = self.side_arcsec / 3600 / np.sqrt(2)  # the square lies within the circle
        circle = (place.ra, place.dec, radius) * u.deg
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


def _holds(record: Any, band: Band) -> bool:
    """Compare a record's wavelengths [m], if it has any, with the band's."""
    low, high = _number(record, "em_min"), _number(record, "em_max")
    return not low <= high or low <= band.wavelength_nm * 1e-9 <= high


def _number(record: Any, name: str) -> float:
    value = record.get(name)
    return np.nan if value is None or np.ma.is_masked(value) else float(value)


def _text(record: Any, name: str) -> str:
    return str(record.get(name, "", decode=True)).strip()
