"""Name the planes of an image after the survey's bands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from galaxy_da.errors import CutoutError
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["agreed_bands", "find_band", "header_bands", "match_bands"]

_MOST_NUMBERED = 100
_NUMBERED = tuple(
    prefix + number
    for prefix in ("BAND", "BAND_", "FILTER", "FILTER_", "FILT", "PLANE", "CHANNEL")
    for number in ("{}", "{:02d}")
)


def header_bands(header: Header, survey: Survey) -> list[str] | None:
    """Return the band names in ``BANDn``, ``BANDS``, ``BAND`` or ``FILTER`` cards, if any."""
    for card in _NUMBERED:
        start = next((i for i in (0, 1) if card.format(i) in header), None)
        if start is not None:
            cards = (card.format(i) for i in range(start, _MOST_NUMBERED))
            names = [str(header[name]).strip() for name in takewhile(header.__contains__, cards)]
            return names if any(names) else None
    if text := str(header.get("BANDS", "") or "").strip():
        parts = [part for part in re.split(r"[\s,;/+]+", text) if part]
        if sum(find_band(part, survey) is not None for part in parts) > 1:
            return parts
        return [text] if find_band(text, survey) else list(text)
    for card in ("BAND", "FILTER"):
        name = str(header.get(card, "") or "").split()
        if name and len(survey.bands) > 1:
            return [name[0]]
    axis = str(header.get("CTYPE3", "") or "")
    if axis.startswith(("WAVE", "AWAV", "FREQ", "BAND", "FILTER")) and len(survey.bands) > 1:
        raise CutoutError(
            f"the third axis is {axis} and no card names its bands; add a 'bands' column"
        )
    return None


def agreed_bands(
    stated: Sequence[str] | None, found: Sequence[str] | None, survey: Survey
) -> Sequence[str] | None:
    """Return the bands that the table or file name states, or those found in the header.

    Raises
    ------
    CutoutError
        If both name bands of the survey, and different ones.
    """
    if not stated or not found:
        return stated or found
    known = [[find_band(band, survey) for band in bands] for bands in (stated, found)]
    if len(stated) != len(found):
        return stated
    for first, second in zip(*known, strict=True):
        if first and second and first != second:
            raise CutoutError(
                f"the table or file name says bands {', '.join(stated)} but the header says "
                f"{', '.join(found)}; correct one of them"
            )
    return stated


def find_band(name: str, survey: Survey) -> str | None:
    """Return a band as the survey spells it ('HSC-G' is its 'g'), None for any other name."""
    exact = {known: known for known in survey.band_names}
    folded = {known.lower(): known for known in reversed(survey.band_names)}
    parts = [part for part in re.split(r"[-_.\s]+", name.strip()) if part] or [""]
    for text in (name.strip(), parts[-1], parts[0]):
        if match := exact.get(text) or folded.get(text.lower()):
            return match
    return None


def match_bands(bands: Sequence[str] | None, planes: int, survey: Survey) -> list[str | None]:
    """Return the survey's band of each plane, None for bands that the survey does not have.

    Without names, the planes are all bands of the survey, in the order of its definition.

    Raises
    ------
    CutoutError
        If no plane is of a band of the survey, one repeats, or their number is not `planes`.
    """
    if bands is None:
        if planes != len(survey.bands):
            raise CutoutError(
                f"has {planes} planes but {survey.name} has {len(survey.bands)} bands "
                f"({', '.join(survey.band_names)}) and neither header nor table names them; add a "
                "'bands' column"
            )
        return list(survey.band_names)
    if len(bands) != planes:
        raise CutoutError(f"has {planes} planes but is said to hold bands {', '.join(bands)}")
    found = [find_band(band, survey) for band in bands]
    known = [band for band in found if band is not None]
    if not known:
        raise CutoutError(
            f"none of the bands {', '.join(map(repr, bands))} is in {survey.name}; it has "
            f"{', '.join(survey.band_names)}"
        )
    if len(set(known)) != len(known):
        raise CutoutError(f"planes repeat a band: {', '.join(known)}")
    return found
