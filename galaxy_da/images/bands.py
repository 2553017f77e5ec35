"""Name the planes of an image after the survey's bands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from galaxy_da.errors import CutoutError
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

_MOST_NUMBERED = 100
_NUMBERED = tuple(
    prefix + number
    for prefix in ("BAND", "BAND_", "FILTER", "FILTER_", "FILT", "PLANE", "CHANNEL")
    for number in ("{}", "{:02d}")
)


def header_bands(header: Header, survey: Survey) -> list[str] | None:
    """Return the band names in ``BANDn``, ``BANDS``, ``BAND`` or ``FILTER`` cards, if any.

    Raises
    ------
    CutoutError
        If two cards name different bands of the survey, or a wavelength axis has no names.
    """
    stated = dict(_statements(header, survey))
    (card, names), *others = stated.items() or [("", None)]
    for other, second in others:
        check_agree(names, second, f"{card} says", f"{other} says", survey)
    if names:
        return names
    axis = str(header.get("CTYPE3", "") or "")
    if axis.startswith(("WAVE", "AWAV", "FREQ", "BAND", "FILTER")) and len(survey.bands) > 1:
        raise CutoutError(
            f"the third axis is {axis} and no card names its bands; add a 'bands' column"
        )
    return None


def _statements(header: Header, survey: Survey) -> Iterator[tuple[str, list[str]]]:
    """Yield the cards that name bands, and the names."""
    for card in _NUMBERED:
        start = next((i for i in (0, 1) if card.format(i) in header), None)
        if start is not None:
            cards = (card.format(i) for i in range(start, _MOST_NUMBERED))
            texts = [str(header[name]).strip() for name in takewhile(header.__contains__, cards)]
            names = [name for name in texts if not name.upper().startswith("CLEAR")]  # of wheels
            if any(names):
                yield card.format(start), names
    if text := str(header.get("BANDS", "") or "").strip():
        yield "BANDS", split_bands(text, survey)
    for card in ("BAND", "FILTER", "FPA.FILTERID"):  # the last one of Pan-STARRS
        name = str(header.get(card, "") or "").split()
        if name and len(survey.bands) > 1:
            yield card, name[:1]


def split_bands(text: str, survey: Survey) -> list[str]:
    """Return the band names of a text: ``g,r,z``, ``g r z``, ``z-r-g``, ``grz`` or one name."""
    for separators in (r"[,;/|]+", r"[^A-Za-z0-9.'_-]+", r"[^A-Za-z0-9]+"):
        parts = [part.strip(" '\"[]()") for part in re.split(separators, text)]
        parts = [part for part in parts if part]
        known = sum(find_band(part, survey) is not None for part in parts)
        if known > 1 or (len(parts) > 1 and "," in separators[:2]):
            return parts
        text = parts[0] if len(parts) == 1 else text
    return list(text) if text.isalpha() and not find_band(text, survey) else [text]


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
    check_agree(stated, found, "the table or file name says bands", "the header says", survey)
    return stated


def check_agree(
    first: Sequence[str] | None, second: Sequence[str] | None, one: str, other: str, survey: Survey
) -> None:
    """Refuse two statements of equally many planes that name different bands of the survey."""
    if first is None or second is None or len(first) != len(second):
        return
    for pair in zip(first, second, strict=True):
        known = {find_band(name, survey) for name in pair} - {None}
        if len(known) > 1:
            raise CutoutError(
                f"{one} {', '.join(first)} but {other} {', '.join(second)}; correct one of them"
            )


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
                "FILTER or BANDS card, or a 'bands' column"
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
