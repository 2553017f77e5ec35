"""Calibrate the pixels of a FITS image by its header."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from galaxy_da.errors import CutoutError
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["calibrate"]

_UNITS = {"nanomaggy": "nanomaggy", "nanomaggies": "nanomaggy", "njy": "nJy", "ujy": "uJy"}
"""Spellings of ``BUNIT`` in lower case, and the survey's `flux_unit` for each."""


def calibrate(pixels: np.ndarray, header: Header, survey: Survey) -> np.ndarray:
    """Return pixels in the survey's flux unit.

    Counts are divided by the exposure time if the survey names its card.

    Raises
    ------
    CutoutError
        If ``BUNIT`` contradicts the survey, or the exposure time is missing or not positive.
    """
    unit = _UNITS.get(str(header.get("BUNIT", "")).strip().lower(), survey.flux_unit)
    if unit != survey.flux_unit:
        raise CutoutError(
            f"BUNIT says {header['BUNIT']!r} but {survey.name} is defined in {survey.flux_unit!r} "
            f"(zeropoint {survey.zeropoint_mag}); fix the survey definition or the files"
        )
    if not survey.exposure_keyword:
        return pixels
    exposure = header.get(survey.exposure_keyword)
    if not isinstance(exposure, int | float) or not exposure > 0:
        raise CutoutError(
            f"needs the exposure time in card {survey.exposure_keyword} but it is {exposure!r}"
        )
    return pixels / float(exposure)
