"""Archives of each survey, by name.

``open_source("sdss")`` opens the survey's first service. Another can be named, as ``"mosaic"``
(local files), ``"sia"`` (any image service of the VO) or ``"hips"`` (not photometric). Options are
the fields of the service's class: ``size_px``, ``side_arcsec``, ``bands``, ``layer``, ``url``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from galaxy_da.errors import CatalogError
from galaxy_da.surveys import find_survey

if TYPE_CHECKING:
    from catalogs.archives.source import CutoutSource

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

# Class and default options of each service; a class of more than one survey takes its name.
_Service = tuple[str, Mapping[str, Any]]
_OWN: dict[str, dict[str, _Service]] = {
    "decals": {"legacy": ("legacy:LegacySurvey", {"survey": "decals"})},
    "decals-dr11": {"legacy": ("legacy:LegacySurvey", {"survey": "decals-dr11", "bands": "griz"})},
    "bass-mzls": {"legacy": ("legacy:LegacySurvey", {"survey": "bass-mzls"})},
    "sdss": {"imgcutout": ("sdss:ImgCutout", {})},
    "ps1": {"fitscut": ("panstarrs:PanStarrs", {})},
    "des": {"noirlab": ("sia:SimpleImageAccess", {"survey": "des", **_NOIRLAB})},
    "hsc": {"das-cutout": ("hsc:HyperSuprimeCam", {})},
    "euclid-vis": {
        "esa": ("euclid:Euclid", {"survey": "euclid-vis"}),
        "irsa": ("sia:SimpleImageAccess", {"survey": "euclid-vis", **_IRSA}),
    },
    "rubin": {"rubin": ("sia:SimpleImageAccess", {"survey": "rubin", **_RUBIN})},
}
_ANY = {"mosaic": "mosaic:LocalMosaic", "sia": "sia:SimpleImageAccess", "hips": "hips:Hips"}


def open_source(survey: str, service: str | None = None, **options: Any) -> CutoutSource:
    """Return the source of a survey's cutouts from a service, by default its first.

    The survey is a built-in name, or a TOML file (for ``hips``, ``sia`` and ``mosaic``). Options
    are the fields of the service's class.

    Raises
    ------
    CatalogError
        If the service does not serve the survey, or an option is not one of its fields.
    SurveyError, ValueError
        If the survey is unknown, or an option has a value that the service does not take.
    """
    known = services(survey)
    if service is None and survey not in _OWN:
        raise CatalogError(
            f"{survey}: no archive cuts it; name a service: {', '.join(known)} (hips is not "
            "photometric)"
        )
    name = service or next(iter(known))
    if name not in known:
        raise CatalogError(
            f"{survey}: service {name!r} has no cutouts of it; {', '.join(known)} do"
        )
    path, defaults = known[name]
    source = resolve_name(f"catalogs.archives.{path}")
    try:
        return source(**{**defaults, **options})  # type: ignore[no-any-return]
    except TypeError as error:
        reason = str(error).partition("() ")[2] or str(error)  # without the constructor's name
        raise CatalogError(f"{survey}: {name} does not take these options ({reason})") from error


def services(survey: str) -> dict[str, _Service]:
    """Return the services with cutouts of a survey (name or TOML file), the default first."""
    find_survey(survey)
    anywhere = {name: (path, {"survey": survey}) for name, path in _ANY.items()}
    return {**_OWN.get(survey, {}), **anywhere}
