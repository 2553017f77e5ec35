"""Source of cutouts: a survey in an archive, a service with its limits, one cutout at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from catalogs.archives.limits import Limits
from catalogs.archives.stamps import Place, Stamp, write_cube
from galaxy_da.images.calibration import calibration_cards
from galaxy_da.io.files import json_hash
from galaxy_da.surveys import find_survey

if TYPE_CHECKING:
    from mocpy import MOC

    from catalogs.archives.http import Http, Query

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]

_PROSE = {"title", "citation"}
_NOT_IDENTITY = {"survey", "service", "footprint", "fallback", "token", "limits", "suffix"}


@dataclass(frozen=True, kw_only=True)
class CutoutSource:
    """Source of the cutouts of one survey from one service; its other fields are its identity."""

    survey: str  # built-in name or TOML file
    service: str  # key of limiter and cache
    limits: ClassVar[Limits] = Limits(requests_per_second=4, concurrency=4)
    suffix: str = ".fits"  # of a cutout's file
    footprint: MOC | None = None
    product: ClassVar[Mapping[str, str | int]] = {}  # what else decides the bytes

    def __post_init__(self) -> None:
        for name in ("size_px", "side_arcsec"):
            if not getattr(self, name, 1) > 0:
                raise ValueError(f"{name} must be positive but is {getattr(self, name)}")

    def identity(self) -> Query:
        """Return everything besides the position that decides a cutout's bytes; never a password.

        ``pixel_scale_arcsec``, if present, also becomes that column of the sample table (colour
        images carry no WCS).
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        own = self.survey.endswith(".toml")  # the file may change under its name
        defined = {"survey_definition": definition_hash(self.survey)} if own else {}
        return {**self.product, **defined} | {
            name: ",".join(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if name not in _NOT_IDENTITY
        }

    def covers(self, ra: FloatArray, dec: FloatArray) -> BoolArray | None:
        """Return a mask of (n,) positions [ICRS deg] in the footprint, None if it is unknown."""
        if self.footprint is None:
            return None
        import astropy.units as u

        return np.asarray(self.footprint.contains_lonlat(ra * u.deg, dec * u.deg), dtype=np.bool_)

    def order(self, ra: FloatArray, dec: FloatArray) -> np.ndarray:
        """Return the order in which (n,) positions [ICRS deg] are fetched, (n,) int."""
        return np.arange(len(ra))

    def settled(self, http: Http, ra: float, dec: float, before: Mapping[str, Any]) -> Self:
        """Return the source with every choice made that depends on the service.

        A fetch calls it once, with a first position [ICRS deg] and the identity of an earlier run
        of the same fetch, if there is one.
        """
        return self

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Fetch a whole file of type `suffix`, centred on a position [ICRS deg], in any thread.

        CutoutError is raised if this position has no cutout, with the status ``no_data``,
        ``outside_footprint``, ``fetch_failed``, ``unreadable`` or ``failed_quality``; CatalogError
        if no position can succeed: a wrong account, a misconfigured service.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class BandSource(CutoutSource):
    """Source that cuts one band at a time, in FITS; a cutout is a cube of them."""

    bands: tuple[str, ...] | str = ()  # in the order of the cube; by default all
    cards: ClassVar[Mapping[str, str]] = {}  # of the cube, besides calibration and WCS

    def __post_init__(self) -> None:
        super().__post_init__()
        survey = find_survey(self.survey)
        names = (self.bands,) if isinstance(self.bands, str) else self.bands
        chosen = tuple(survey.band(name).name for name in names) or survey.band_names
        object.__setattr__(self, "bands", chosen)

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Fetch one cutout centred on a position [ICRS deg]; see `CutoutSource.fetch`."""
        place = Place(ra, dec, f"{self.service} at {ra:.5f}, {dec:.5f}")
        images = self._images(place, http)
        stamps = {
            band: self._stamp(band, images, place._replace(label=f"{place.label} {band}"), http)
            for band in self.bands
        }
        cards = {**calibration_cards(find_survey(self.survey)), **self.cards}
        return write_cube(stamps, place.label, cards)

    def _images(self, place: Place, http: Http) -> Any:
        """Find the images of all bands that cover a position, where one request lists them."""
        return None

    def _stamp(self, band: str, images: Any, place: Place, http: Http) -> Stamp:
        """Fetch and check the stamp of one band."""
        raise NotImplementedError


def definition_hash(survey: str) -> str:
    """Hash all that a survey's definition says of its pixels (built-in name or TOML file)."""
    return json_hash(find_survey(survey).model_dump(mode="json", exclude=_PROSE))[:16]
