"""Name the planes of an image after the survey's bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from galaxy_da.errors import CutoutError
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["header_bands", "match_bands"]


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


def match_bands(bands: Sequence[str] | None, planes: int, survey: Survey) -> tuple[str, ...]:
    """Return the names of planes as the survey spells them ('HSC-G' is its 'g').

    Without names, the planes are all bands of the survey.

    Raises
    ------
    CutoutError
        If a band is not in the survey, or their number is not `planes`.
    """
    if bands is None:
        if planes != len(survey.bands):
            raise CutoutError(
                f"has {planes} planes but {survey.name} has {len(survey.bands)} bands "
                f"({', '.join(survey.band_names)}) and neither header nor table names them; add a "
                "'bands' column"
            )
        return survey.band_names
    if len(bands) != planes:
        raise CutoutError(f"has {planes} planes but is said to hold bands {', '.join(bands)}")
    return tuple(_match_band(band, survey) for band in bands)


def _match_band(band: str, survey: Survey) -> str:
    exact = {name: name for name in survey.band_names}
    folded = {name.lower(): name for name in reversed(survey.band_names)}
    last = band.replace("_", "-").rsplit("-", 1)[-1]
    match = exact.get(band) or exact.get(last) or folded.get(last.lower())
    if match is None:
        raise CutoutError(
            f"band {band!r} is not in {survey.name}; it has {', '.join(survey.band_names)}"
        )
    return match
