"""What an archive is to the engine: a survey, a service with its limits, one cutout at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from catalogs.archives.http import Http
    from catalogs.archives.limits import Limits

__all__ = ["BoolArray", "CutoutSource", "FloatArray"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class CutoutSource(Protocol):
    """Where the cutouts of one survey come from.

    Attributes
    ----------
    survey : str
        Name of the survey the cutouts are of (``decals``, ``sdss``, ...).
    service : str
        Who serves them (``legacysurvey.org``, ``local``, ...): the limiter and the cache are
        keyed by it.
    limits : Limits
        What the service bears.
    suffix : str
        Of a cutout's file: ``.fits``, ``.jpg`` or ``.png``.
    """

    @property
    def survey(self) -> str: ...  # noqa: D102
    @property
    def service(self) -> str: ...  # noqa: D102
    @property
    def limits(self) -> Limits: ...  # noqa: D102
    @property
    def suffix(self) -> str: ...  # noqa: D102

    def identity(self) -> Mapping[str, str | int | float]:
        """Return everything besides the position that decides a cutout's bytes; never a password.

        Base url, layer, size, bands, format, release. ``pixel_scale_arcsec``, where given, also
        becomes that column of the sample table (colour images carry no WCS).
        """
        ...

    def covers(self, ra: FloatArray, dec: FloatArray) -> BoolArray | None:
        """Say which positions the survey observed, asking nobody.

        Parameters
        ----------
        ra, dec : (n,) float array [ICRS deg]
            Positions.

        Returns
        -------
        (n,) bool array, or None
            None where the footprint is unknown.
        """
        ...

    def fetch(self, ra: float, dec: float, http: Http) -> bytes:
        """Get one cutout.

        Parameters
        ----------
        ra, dec : float
            Centre [ICRS deg].
        http : Http
            Does the waiting and the retries; called from several threads.

        Returns
        -------
        bytes
            A whole file of type `suffix`.

        Raises
        ------
        CutoutError
            Saying by its status what this position's answer was: ``no_data``,
            ``outside_footprint``, ``fetch_failed``, ``unreadable`` or ``failed_quality``.
        CatalogError
            If no position can succeed: a wrong account, a misconfigured service.
        """
        ...
