"""Calibrate the pixels of a FITS image by its header.

The header decides where it speaks: asinh scaling (``BSOFTEN``, ``BOFFSET``), the unit (``BUNIT``),
a zeropoint card. The survey's definition decides where the header is silent. A contradiction is
refused by naming both sides.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from galaxy_da.errors import CutoutError
from galaxy_da.images.quiet import quiet
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.units import Quantity

__all__ = ["calibrate", "calibration_cards", "flux_factor", "linearise", "states_unit"]

_JANSKY_ZEROPOINT = 8.9
"""AB magnitude of one jansky [mag]."""

_ZEROPOINT_CARDS = (
    "MAGZERO", "MAGZPT", "MAGZP", "MAGZEROP", "PHOTZP", "ZEROPNT", "ZEROPOINT", "ZP", "ZPT",
    "ABZP", "ABMAGZP", "ZP_AB",
)  # fmt: skip
_SYSTEM_CARDS = ("MAGSYS", "ZPSYS", "PHOTSYS", "MAGTYPE")
_OTHER_SYSTEM = re.compile(r"\b(vega|st ?mag)|\bst\b", re.IGNORECASE)
_VEGA_CAMERAS = ("WFCAM", "VIRCAM")
"""Cameras of UKIDSS and VISTA, whose pipelines state Vega zeropoints without saying so."""

_ZEROPOINT_TOLERANCE = 0.05
"""Difference of two statements of the zeropoint that counts as a contradiction [mag]."""

_LIKE_ZEROPOINT = re.compile(
    r"(MAG_?|PHOT_?|AB_?|ABMAG_?|SEX|FILT|CALIB_?|FPA\.)?"
    r"(ZP|ZPT|ZERO|ZEROP|ZEROPT|ZMAG|MAG_?0|MAG_?ZERO|MAG_?ZPT?|MZERO|MGZPT)(_?(MAG|AB|ADU|PT))?"
)
_ZEROPOINT_RANGE = (-5.0, 60.0)
_SAME_UNIT = 1e-3
"""Relative difference of two flux units that is ignored, such as 3631 from 3630.8 Jy."""

_COUNTS = re.compile(
    r"(adu|dn|data numbers?|counts?|cts?|e-?|electrons?|photons?)"
    r"(?P<rate>\s*(/|per)\s*s(ec(onds?)?)?|[\s.*]*s\*{0,2}\^?\(?-1\)?)?(\s*/\s*pix(el)?)?",
    re.IGNORECASE,
)
_SPELLINGS = (
    (re.compile(r"\b(nano|n)?(maggy|maggies|mgy)\b", re.IGNORECASE),
     lambda m: "nmgy" if m[1] else "mgy"),
    (re.compile(r"\b(micro|nano|milli|mega)\s*(Jy|janskys?)\b", re.IGNORECASE),
     lambda m: {"micro": "u", "nano": "n", "milli": "m", "mega": "M"}[m[1].lower()] + "Jy"),
    (re.compile(r"\b(n|u|µ|μ)jy\b", re.IGNORECASE),
     lambda m: ("n" if m[1].lower() == "n" else "u") + "Jy"),
    (re.compile(r"\bjy\b", re.IGNORECASE), lambda m: "Jy"),
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
    factor = flux_factor(header, survey, pixel_scale_arcsec)
    linear = linearise(pixels, header)
    return linear if abs(factor - 1) < _SAME_UNIT else np.asarray(linear * np.float32(factor))


def flux_factor(header: Header, survey: Survey, pixel_scale_arcsec: float) -> float:
    """Return the survey's flux units in one unit of the file; see `calibrate`."""
    unit = _text(header, "BUNIT")
    stated = _zeropoint(header, survey)
    counts = _COUNTS.fullmatch(unit)
    if unit and not counts:
        side = survey.flux_pixel_scale_arcsec or pixel_scale_arcsec
        return _physical_factor(unit, stated, survey, side)
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


def linearise(pixels: np.ndarray, header: Header) -> np.ndarray:
    """Undo the asinh scaling of a Pan-STARRS stack, if the header has its cards.

    flux = BOFFSET + 2 BSOFTEN sinh(value / α), α = 2.5 log10 e (Waters et al. 2020, ApJS 251, 4).
    """
    if "BSOFTEN" not in header or "BOFFSET" not in header:
        return pixels
    soften, offset = (_number(header, card) for card in ("BSOFTEN", "BOFFSET"))
    with np.errstate(over="ignore"):  # to infinity, which counts as missing
        sinh = np.sinh(pixels.astype(np.float64) / (2.5 * np.log10(np.e)))
        return np.asarray(offset + 2 * soften * sinh, np.float32)


def states_unit(header: Header) -> bool:
    """Test if a header states a unit or a zeropoint."""
    return bool(_text(header, "BUNIT")) or any(
        card in header for card in ("FLUXMAG0", *_ZEROPOINT_CARDS)
    )


def calibration_cards(survey: Survey) -> dict[str, str | float]:
    """Return the header cards of pixels that are in the survey's flux unit."""
    cards: dict[str, str | float] = (
        {"MAGZERO": survey.zeropoint_mag}
        if survey.flux_unit == "count"
        else {"BUNIT": survey.flux_unit}
    )
    return cards | ({survey.exposure_keyword: 1.0} if survey.exposure_keyword else {})


def _physical_factor(
    text: str, stated: tuple[str, float] | None, survey: Survey, flux_pixel_arcsec: float
) -> float:
    """Return the survey's flux units in one physical unit, per pixel or per area."""
    jansky, is_per_area = _janskys(text)
    if is_per_area:
        jansky *= flux_pixel_arcsec**2
    zeropoint = _JANSKY_ZEROPOINT - 2.5 * np.log10(jansky)
    if stated is not None and abs(stated[1] - zeropoint) > _ZEROPOINT_TOLERANCE:
        raise CutoutError(
            f"BUNIT {text!r} means an AB zeropoint of {zeropoint:.2f} but {stated[0]} says "
            f"{stated[1]:.2f}; correct one of the two cards"
        )
    return float(10 ** (0.4 * (survey.zeropoint_mag - zeropoint)))


@lru_cache(maxsize=256)
def _janskys(text: str) -> tuple[float, bool]:
    """Return a unit in janskys, or in janskys per square arcsecond and True."""
    import astropy.units as u

    one = _quantity(text)
    is_per_area = one.unit.is_equivalent(u.Jy / u.sr)
    if not (is_per_area or one.unit.is_equivalent(u.Jy)):
        raise CutoutError(
            f"BUNIT {text!r} is neither a flux density nor a surface brightness; expected "
            "nanomaggy, Jy, MJy/sr or counts with a zeropoint"
        )
    jansky = float(one.to_value(u.Jy / u.arcsec**2 if is_per_area else u.Jy))
    if not 0 < jansky < np.inf:
        raise CutoutError(f"BUNIT {text!r} is no positive unit")
    return jansky, is_per_area


def _quantity(text: str) -> Quantity:
    """Parse a unit as a quantity, with maggies as 3631 Jy and without pixels."""
    import astropy.units as u

    spelled = text
    for pattern, replacement in _SPELLINGS:
        spelled = pattern.sub(replacement, spelled)
    try:
        with quiet():
            unit = u.Unit(spelled, parse_strict="raise").decompose()
        powers = dict(zip(unit.bases, unit.powers, strict=True))
    except (ValueError, TypeError, AttributeError) as error:  # magnitudes have no bases
        raise CutoutError(
            f"BUNIT {text!r} is no unit that astropy knows; correct the card, or remove it to use "
            "the unit of the survey's definition"
        ) from error
    maggies, pixels = powers.get(u.mgy, 0), powers.get(u.pix, 0)
    return 1 * unit * (3631 * u.Jy / u.mgy) ** maggies / u.pix**pixels


def _zeropoint(header: Header, survey: Survey) -> tuple[str, float] | None:
    """Return the card and the AB zeropoint that a header states."""
    cards = [name for name in _ZEROPOINT_CARDS if name in header]
    found = {name: _number(header, name) for name in cards}
    if "FLUXMAG0" in header:
        flux = _number(header, "FLUXMAG0")
        if not flux > 0:
            raise CutoutError(f"FLUXMAG0 must be positive but is {flux:g}")
        found["FLUXMAG0"] = 2.5 * float(np.log10(flux))
    if not found:
        _refuse_unread_zeropoint(header, survey)
        return None
    _check_system(header, next(iter(found)))
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


def _refuse_unread_zeropoint(header: Header, survey: Survey) -> None:
    """Refuse a card that looks like another zeropoint than the survey's and is not read."""
    for card in filter(_LIKE_ZEROPOINT.fullmatch, header):
        value = header[card]
        stated = isinstance(value, int | float) and 10 < value < 40
        if stated and abs(value - survey.zeropoint_mag) > _ZEROPOINT_TOLERANCE:
            raise CutoutError(
                f"card {card} looks like a zeropoint of {value:g} but {survey.name} is defined "
                f"with {survey.zeropoint_mag:g}; state it as MAGZERO [AB mag], or remove the card"
            )


def _check_system(header: Header, card: str) -> None:
    """Refuse a zeropoint that is not AB by a card of the system, its comment or the camera."""
    stated = {name: _text(header, name) for name in _SYSTEM_CARDS}
    stated[f"the comment of {card}"] = str(header.comments[card])
    for name, text in stated.items():
        if _OTHER_SYSTEM.search(text):
            raise CutoutError(
                f"{name} says {text!r}: the zeropoint {card} is not an AB magnitude; convert it"
            )
    camera = _text(header, "INSTRUME")
    if camera.upper() in _VEGA_CAMERAS and not stated["MAGSYS"].upper().startswith("AB"):
        raise CutoutError(
            f"the zeropoint {card} of {camera} is a Vega magnitude; convert it to AB and state "
            "MAGSYS = 'AB'"
        )


def _text(header: Header, card: str) -> str:
    """Return a card as text, empty where it is missing or says nothing."""
    text = str(header.get(card, "") or "").strip().strip("'\"")
    return "" if text.lower() in ("none", "unknown", "-", "n/a") else text


def _number(header: Header, card: str) -> float:
    value = header.get(card)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise CutoutError(f"card {card} must be a number but is {value!r}")
    return float(value)
