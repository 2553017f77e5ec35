"""Calibrate the pixels of a FITS image by its header.

The header decides where it speaks: asinh scaling (``BSOFTEN``, ``BOFFSET``), the unit (``BUNIT``),
a zeropoint card. The survey's definition decides where the header is silent. A contradiction is
refused by naming both sides.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np

from galaxy_da.errors import CutoutError
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.units import Quantity

__all__ = ["calibrate", "calibration_cards", "linearise"]

_JANSKY_ZEROPOINT = 8.9
"""AB magnitude of one jansky [mag]."""

_ZEROPOINT_CARDS = ("MAGZERO", "MAGZPT", "MAGZP", "PHOTZP", "ZEROPNT", "ABZP", "ZP_AB")
_SYSTEM_CARDS = ("MAGSYS", "ZPSYS", "PHOTSYS", "MAGTYPE")
_ZEROPOINT_TOLERANCE = 0.05
"""Difference of two statements of the zeropoint that counts as a contradiction [mag]."""

_ZEROPOINT_RANGE = (-5.0, 60.0)
_SAME_UNIT = 1e-3
"""Relative difference of two flux units that is ignored, such as 3631 from 3630.8 Jy."""

_COUNTS = re.compile(
    r"(adu|dn|data numbers?|counts?|cts?|e-?|electrons?|photons?)"
    r"(?P<rate>\s*(/|per)\s*s(ec(onds?)?)?|\s*s\*{0,2}\^?-1)?(\s*/\s*pix(el)?)?",
    re.IGNORECASE,
)
_SPELLINGS = (
    (re.compile(r"\b(nano)?maggies\b", re.IGNORECASE), lambda m: f"{m[1] or ''}maggy"),
    (re.compile(r"\b(nano)?maggy\b", re.IGNORECASE), lambda m: m[0].lower()),
    (re.compile(r"\b(micro|nano|milli|mega)\s*(Jy|janskys?)\b", re.IGNORECASE),
     lambda m: {"micro": "u", "nano": "n", "milli": "m", "mega": "M"}[m[1].lower()] + "Jy"),
    (re.compile(r"\b(n|u|µ|μ)jy\b", re.IGNORECASE),
     lambda m: ("n" if m[1].lower() == "n" else "u") + "Jy"),
    (re.compile(r"\bjy\b"), lambda m: "Jy"),
)  # fmt: skip


def calibrate(
    pixels: np.ndarray, header: Header, survey: Survey, pixel_scale_arcsec: float
) -> np.ndarray:
    """Return pixels in the survey's flux unit.

    Parameters
    ----------
    pixels : (planes, y, x) float array
        Values of the file, after ``BSCALE`` and ``BZERO``. Not modified.
    header : Header
        Header of the image.
    survey : Survey
        Survey of the image.
    pixel_scale_arcsec : float
        Side of a pixel [arcsec], for units of surface brightness.

    Returns
    -------
    (planes, y, x) float32 array

    Raises
    ------
    CutoutError
        If the unit is unknown, contradicts a zeropoint or the survey's definition, or a needed
        card is missing or no number.
    """
    factor = _factor(header, survey, survey.flux_pixel_scale_arcsec or pixel_scale_arcsec)
    linear = linearise(pixels, header)
    return linear if abs(factor - 1) < _SAME_UNIT else np.asarray(linear * np.float32(factor))


def linearise(pixels: np.ndarray, header: Header) -> np.ndarray:
    """Undo the asinh scaling of a Pan-STARRS stack, if the header has its cards.

    flux = BOFFSET + 2 BSOFTEN sinh(value / α), α = 2.5 log10 e (Waters et al. 2020, ApJS 251, 4).
    """
    if "BSOFTEN" not in header or "BOFFSET" not in header:
        return pixels
    soften, offset = (_number(header, card) for card in ("BSOFTEN", "BOFFSET"))
    counts = offset + 2 * soften * np.sinh(pixels.astype(np.float64) / (2.5 * np.log10(np.e)))
    return np.asarray(counts, np.float32)


def calibration_cards(survey: Survey) -> dict[str, str | float]:
    """Return the header cards of pixels that are in the survey's flux unit."""
    cards: dict[str, str | float] = (
        {"MAGZERO": survey.zeropoint_mag}
        if survey.flux_unit == "count"
        else {"BUNIT": survey.flux_unit}
    )
    return cards | ({survey.exposure_keyword: 1.0} if survey.exposure_keyword else {})


def _factor(header: Header, survey: Survey, flux_pixel_arcsec: float) -> float:
    """Return the survey's flux units in one unit of the file."""
    unit = _text(header, "BUNIT")
    stated = _zeropoint(header)
    counts = _COUNTS.fullmatch(unit)
    if unit and not counts:
        return _physical_factor(unit, stated, survey, flux_pixel_arcsec)
    if counts and stated is None and survey.flux_unit != "count":
        raise CutoutError(
            f"BUNIT says {unit!r} but {survey.name} is defined in {survey.flux_unit!r} and the "
            "header names no zeropoint; add a MAGZERO card, or define the survey in counts"
        )
    zeropoint = survey.zeropoint_mag if stated is None else stated[1]
    factor = 10 ** (0.4 * (survey.zeropoint_mag - zeropoint))
    if survey.exposure_keyword and not (counts and counts["rate"]):
        exposure = header.get(survey.exposure_keyword)
        if not isinstance(exposure, int | float) or not 0 < exposure < np.inf:
            raise CutoutError(
                f"needs the exposure time in card {survey.exposure_keyword} but it is {exposure!r}"
            )
        factor /= exposure
    return float(factor)


def _physical_factor(
    text: str, stated: tuple[str, float] | None, survey: Survey, flux_pixel_arcsec: float
) -> float:
    """Return the survey's flux units in one physical unit, per pixel or per area."""
    import astropy.units as u

    one = _quantity(text)
    if one.unit.is_equivalent(u.Jy / u.sr):
        one = one * (flux_pixel_arcsec * u.arcsec) ** 2
    if not one.unit.is_equivalent(u.Jy):
        raise CutoutError(
            f"BUNIT {text!r} is neither a flux density nor a surface brightness; expected "
            "nanomaggy, Jy, MJy/sr or counts with a zeropoint"
        )
    jansky = float(one.to_value(u.Jy))
    zeropoint = _JANSKY_ZEROPOINT - 2.5 * np.log10(jansky)
    if stated is not None and abs(stated[1] - zeropoint) > _ZEROPOINT_TOLERANCE:
        raise CutoutError(
            f"BUNIT {text!r} means an AB zeropoint of {zeropoint:.2f} but {stated[0]} says "
            f"{stated[1]:.2f}; correct one of the two cards"
        )
    return float(10 ** (0.4 * (survey.zeropoint_mag - zeropoint)))


def _quantity(text: str) -> Quantity:
    """Parse a unit as a quantity, with maggies as 3631 Jy and without pixels."""
    import astropy.units as u

    spelled = text
    for pattern, replacement in _SPELLINGS:
        spelled = pattern.sub(replacement, spelled)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", u.UnitsWarning)
            unit = u.Unit(spelled, parse_strict="raise").decompose()
    except (ValueError, TypeError) as error:
        raise CutoutError(
            f"BUNIT {text!r} is no unit that astropy knows; correct the card, or remove it to use "
            "the unit of the survey's definition"
        ) from error
    powers = dict(zip(unit.bases, unit.powers, strict=True))
    maggies, pixels = powers.get(u.mgy, 0), powers.get(u.pix, 0)
    return 1 * unit * (3631 * u.Jy / u.mgy) ** maggies / u.pix**pixels


def _zeropoint(header: Header) -> tuple[str, float] | None:
    """Return the card and the AB zeropoint that a header states."""
    cards = [name for name in _ZEROPOINT_CARDS if name in header]
    found = {name: _number(header, name) for name in cards}
    if "FLUXMAG0" in header:
        flux = _number(header, "FLUXMAG0")
        if not flux > 0:
            raise CutoutError(f"FLUXMAG0 must be positive but is {flux:g}")
        found["FLUXMAG0"] = 2.5 * float(np.log10(flux))
    if not found:
        return None
    system = next((name for name in _SYSTEM_CARDS if "vega" in _text(header, name).lower()), None)
    if system is not None:
        raise CutoutError(
            f"{system} says {header[system]!r}: the zeropoint {next(iter(found))} is a Vega "
            "magnitude; convert it to AB"
        )
    (card, value), *others = found.items()
    for other, second in others:
        if abs(second - value) > _ZEROPOINT_TOLERANCE:
            raise CutoutError(
                f"{card} states the zeropoint {value:.3f} but {other} states {second:.3f}; remove "
                "the wrong card"
            )
    if not _ZEROPOINT_RANGE[0] < value < _ZEROPOINT_RANGE[1]:
        raise CutoutError(f"{card} states the zeropoint {value:g}, which no survey has")
    return card, value


def _text(header: Header, card: str) -> str:
    """Return a card as text, empty where it is missing or says nothing."""
    text = str(header.get(card, "") or "").strip().strip("'\"")
    return "" if text.lower() in ("none", "unknown", "-", "n/a") else text


def _number(header: Header, card: str) -> float:
    value = header.get(card)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise CutoutError(f"card {card} must be a number but is {value!r}")
    return float(value)
