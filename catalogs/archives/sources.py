"""Which archive serves which survey, by name.

``open_source("sdss")`` is the survey's first service; another is named, as ``"mosaic"`` (files of
one's own), ``"sia"`` (any image service of the VO) or ``"hips"`` (not photometric). Options
are the fields of the service's class: ``size_px``, ``side_arcsec``, ``bands``, ``layer``, ``url``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from galaxy_da.errors import CatalogError
from galaxy_da.surveys import get_survey

if TYPE_CHECKING:
    from catalogs.archives.source import CutoutSource

__all__ = ["open_source", "services"]


def _legacy(survey: str, **options: Any) -> CutoutSource:
    from catalogs.archives.legacy import LegacySurvey

    return LegacySurvey(survey=survey, **options)


def _sdss(survey: str, **options: Any) -> CutoutSource:
    from catalogs.archives.sdss import ImgCutout

    return ImgCutout(**options)


def _panstarrs(survey: str, **options: Any) -> CutoutSource:
    from catalogs.archives.panstarrs import PanStarrs

    return PanStarrs(**options)


def _hsc(survey: str, **options: Any) -> CutoutSource:
    from catalogs.archives.hsc import HyperSuprimeCam

    return HyperSuprimeCam(**options)


def _euclid(survey: str, **options: Any) -> CutoutSource:
    from catalogs.archives.euclid import Euclid

    return Euclid(survey=survey, **options)


def _sia(survey: str, *, defaults: Mapping[str, Any], **options: Any) -> CutoutSource:
    from catalogs.archives.sia import SimpleImageAccess

    return SimpleImageAccess(survey=survey, **{**defaults, **options})


def _hips(survey: str, **options: Any) -> CutoutSource:
    from catalogs.archives.hips import Hips

    return Hips(survey=survey, **options)


def _mosaic(survey: str, **options: Any) -> CutoutSource:
    from catalogs.archives.mosaic import LocalMosaic

    return LocalMosaic(survey=survey, **options)


_RUBIN = {
    "url": "https://data.lsst.cloud/api/sia/dp1/query",
    "cut": "soda",
    "select": {"dataproduct_subtype": "lsst.deep_coadd"},
    "token": "RUBIN_TOKEN",
}
_NOIRLAB = {
    "url": "https://datalab.noirlab.edu/sia/des_dr2",
    "cut": "sia",
    "select": {"obs_bandpass": "{band}", "proctype": "Stack", "prodtype": "image"},
}
_IRSA = {
    "url": "https://irsa.ipac.caltech.edu/SIA",
    "cut": "ibe",
    "collection": "euclid_DpdMerBksMosaic",
    "select": {"dataproduct_subtype": "science", "energy_bandpassname": "{band}"},
    "side_arcsec": 40.0,
}

_Opener = Callable[..., "CutoutSource"]
_OWN: dict[str, dict[str, _Opener]] = {
    "decals": {"legacy": _legacy},
    "bass-mzls": {"legacy": _legacy},
    "sdss": {"imgcutout": _sdss},
    "ps1": {"fitscut": _panstarrs},
    "des": {"noirlab": partial(_sia, defaults=_NOIRLAB)},
    "hsc": {"das-cutout": _hsc},
    "euclid-vis": {"esa": _euclid, "irsa": partial(_sia, defaults=_IRSA)},
    "rubin": {"rubin": partial(_sia, defaults=_RUBIN)},
}


def services(survey: str) -> tuple[str, ...]:
    """Return the names of the services that have cutouts of a survey, the default first.

    Parameters
    ----------
    survey : str
        Built-in name, or a TOML file.

    Raises
    ------
    SurveyError
        If there is no such survey.
    """
    return tuple(_openers(survey))


def open_source(survey: str, service: str | None = None, **options: Any) -> CutoutSource:
    """Return the source of a survey's cutouts.

    Parameters
    ----------
    survey : str
        Built-in name, or a TOML file (for ``hips``, ``sia`` and ``mosaic``).
    service : str, optional
        One of `services`; by default the first.
    **options
        Fields of the service's class.

    Raises
    ------
    CatalogError
        If the service does not serve the survey, or an option is none of its fields.
    SurveyError
        If there is no such survey.
    ValueError
        If an option has a value the service does not take.
    """
    openers = _openers(survey)
    if service is None and survey not in _OWN:
        raise CatalogError(
            f"{survey}: no archive cuts it; name a service: {', '.join(openers)} (hips is not "
            "photometric)"
        )
    name = service or next(iter(openers))
    if name not in openers:
        raise CatalogError(
            f"{survey}: service {name!r} has no cutouts of it; {', '.join(openers)} do"
        )
    try:
        return openers[name](survey, **options)
    except TypeError as error:
        raise CatalogError(f"{survey}: {name} does not take these options ({_plain(error)})") from (
            error
        )


def _openers(survey: str) -> dict[str, _Opener]:
    get_survey(survey)
    return {**_OWN.get(survey, {}), "mosaic": _mosaic, "sia": _sia_anywhere, "hips": _hips}


def _sia_anywhere(survey: str, **options: Any) -> CutoutSource:
    return _sia(survey, defaults={}, **options)


def _plain(error: TypeError) -> str:
    """Return what a constructor objected to, without its name."""
    return str(error).partition("() ")[2] or str(error)
