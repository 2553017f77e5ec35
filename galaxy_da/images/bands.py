"""Name the planes of an image after the survey's bands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from galaxy_da.errors import CutoutError
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["find_band", "header_bands", "match_bands"]


def header_bands(header: Header, survey: Survey) -> list[str] | None:
    """Return the band names in ``BANDn``, ``BANDS``, ``BAND`` or ``FILTER`` cards, if any."""
    numbered = [str(header[f"BAND{i}"]).strip() for i in range(100) if f"BAND{i}" in header]
    if numbered:
        return numbered
    if "BANDS" in header:
        text = str(header["BANDS"]).strip()
        return text.split(",") if "," in text else list(text)
    for card in ("BAND", "FILTER"):
        name = str(header.get(card, "")).split()
        if name and len(survey.bands) > 1:
            return [name[0]]
    return None


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
