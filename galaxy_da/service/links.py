"""Links from a position on the sky to pages of other services."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from pydantic import BaseModel

from galaxy_da.surveys import Survey

_ALADIN = "https://aladin.cds.unistra.fr/AladinLite/"
_LEGACY = "https://www.legacysurvey.org/viewer"
_SIMBAD = "https://simbad.cds.unistra.fr/simbad/sim-coo"

_VIEW = {"fov": 0.03}  # [deg]
_SIMBAD_ARCSEC = 10


class Link(BaseModel):
    """Page about a position, with its name."""

    name: str
    url: str


def sky_links(ra: float | None, dec: float | None, surveys: Sequence[Survey]) -> list[Link]:
    """Return links to a position [deg]: each survey's HiPS in Aladin Lite, and two catalogues.

    A survey without a HiPS (`Survey.footprint`) has no link; an unknown position has none at all.
    """
    if ra is None or dec is None:
        return []
    place = {"ra": f"{ra:.7f}", "dec": f"{dec:.7f}"}
    target = f"{place['ra']} {dec:+.7f}"
    seen = {survey.footprint: survey for survey in surveys if survey.footprint}
    pages = [
        (f"{_short(survey)} in Aladin", _ALADIN, {"target": target, **_VIEW, "survey": hips})
        for hips, survey in seen.items()
    ]
    simbad = {"Coord": target, "CooFrame": "ICRS", "Radius": _SIMBAD_ARCSEC}
    pages += [
        ("Legacy Surveys viewer", _LEGACY, {**place, "layer": "ls-dr10", "zoom": 16}),
        ("SIMBAD", _SIMBAD, {**simbad, "Radius.unit": "arcsec"}),
    ]
    return [
        Link(name=name, url=f"{page}?{urlencode(values, quote_via=quote)}")
        for name, page, values in pages
    ]


def _short(survey: Survey) -> str:
    return survey.title.partition(" (")[0]
