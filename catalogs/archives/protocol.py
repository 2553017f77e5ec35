"""Interface of an archive: a survey, a service with its limits, one cutout at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from catalogs.archives.limits import Limits
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from mocpy import MOC

    from catalogs.archives.http import Http, Query

__all__ = ["ArchiveSource", "BoolArray", "CutoutSource", "FloatArray", "band_names"]

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]

_NOT_IDENTITY = {"survey", "footprint", "fallback", "token", "limits", "suffix"}


class CutoutSource(Protocol):
    """Source of the cutouts of one survey from one service, the key of limiter and cache.

    `suffix` is the ending of a cutout's file: ``.fits``, ``.jpg`` or ``.png``.
    """

    @property
    def survey(self) -> str: ...  # noqa: D102
    @property
    def service(self) -> str: ...  # noqa: D102
    @property
    def limits(self) -> Limits: ...  # noqa: D102
    @property
    def suffix(self) -> str: ...  # noqa: D102

    def identity(self) -> Query:
        """Return everything besides the position that decides a cutout's bytes; never a password.

        ``pixel_scale_arcsec``, if present, also becomes that column of the sample table (colour
        images carry no WCS).
        """
        ...

    def covers(self, ra: FloatArray, dec: FloatArray) -> BoolArray | None:
        """Return a mask of (n,) positions [ICRS deg] in the footprint, None if it is unknown."""
        ...

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Fetch a whole file of type `suffix`, centred on a position [ICRS deg].

        Several threads call it at once.

        Raises
        ------
        CutoutError
            If this position has no cutout. Its status is ``no_data``, ``outside_footprint``,
            ``fetch_failed``, ``unreadable`` or ``failed_quality``.
        CatalogError
            If no position can succeed: a wrong account, a misconfigured service.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ArchiveSource:
    """Base of sources in an archive; their fields are their identity."""

    footprint: MOC | None = None

    def covers(self, ra: FloatArray, dec: FloatArray) -> BoolArray | None:
        """Return a mask of the positions [ICRS deg] in the footprint, or None if it is unknown."""
        if self.footprint is None:
            return None
        import astropy.units as u

        return np.asarray(self.footprint.contains_lonlat(ra * u.deg, dec * u.deg), dtype=np.bool_)

    def settled(self, http: Http, ra: float, dec: float, before: Mapping[str, Any]) -> Self:
        """Return the source with every choice made that depends on the service.

        A fetch calls it once, with a first position [ICRS deg] and the identity of an earlier run
        of the same fetch, if there is one.
        """
        return self

    def identity(self) -> Query:
        """Return everything besides the position that decides a cutout's bytes."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: ",".join(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if name not in _NOT_IDENTITY
        }


def band_names(bands: str | tuple[str, ...], survey: Survey) -> tuple[str, ...]:
    """Return one or several names of a survey's bands as a tuple; SurveyError if it lacks one."""
    names = (bands,) if isinstance(bands, str) else tuple(bands)
    return tuple(survey.band(name).name for name in names)
