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
from galaxy_da.images.hdu_roles import Kind
from galaxy_da.images.quiet import quiet
from galaxy_da.images.zeropoints import (
    ZEROPOINT_TOLERANCE,
    Zeropoint,
    card_number,
    card_text,
    count_of,
    find_zeropoint,
    plane_headers,
    states_zeropoint,
    without_zeropoints,
)
from galaxy_da.surveys import Survey, builtin_surveys

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.units import Quantity, UnitBase

_JANSKY_ZEROPOINT = 8.9
"""AB magnitude of one jansky [mag]."""

_EXPOSURE_CARD = "EXPTIME"
_GAIN_CARDS = ("GAIN", "EGAIN", "CCDGAIN", "ATODGAIN")
SAME_UNIT = 1e-3
"""Relative difference of two flux units that is ignored, such as 3631 from 3630.8 Jy."""

_COUNTS = re.compile(
    r"(adu|dn|data numbers?|counts?|cts?|e-?|electrons?|photons?)"
    r"(?P<rate>\s*(/|per)\s*s(ec(onds?)?)?|[\s.*]*s\*{0,2}\^?\(?-1\)?)?(\s*/\s*pix(el)?)?",
    re.IGNORECASE,
)
_MAGGIES = {
    "": "mgy",
    "n": "nmgy",
    "u": "1e-6 mgy",
    "µ": "1e-6 mgy",
    "μ": "1e-6 mgy",
    "m": "1e-3 mgy",
}
_SPELLINGS = (
    (re.compile(r"\b(milli|micro|nano|[nuµμ]|(?-i:m))?\s*(magg(y|ies?)|mgys?)(?![a-z])", re.I),
     lambda m: _MAGGIES[(m[1] or "").lower().replace("micro", "u")[:1]]),
    (re.compile(r"\b(micro|nano|milli|mega)\s*(Jy|janskys?)(?![a-z])", re.I),
     lambda m: {"micro": "u", "nano": "n", "milli": "m", "mega": "M"}[m[1].lower()] + "Jy"),
    (re.compile(r"\b(n|u|µ|μ)jy(?![a-z])", re.I),
     lambda m: ("n" if m[1].lower() == "n" else "u") + "Jy"),
    (re.compile(r"^mjy(?!.*sr)"), lambda m: "mJy"),
    (re.compile(r"\bjy(?![a-z])", re.I), lambda m: "Jy"),
)  # fmt: skip
_POWERS: dict[Kind, int] = {"sigma": 1, "variance": 2, "inverse variance": -2}


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
    factors = flux_factors(header, survey, pixel_scale_arcsec, len(pixels))
    linear = linearise(pixels, header)
    if (abs(factors - 1) < SAME_UNIT).all():
        return linear
    return np.asarray(linear * factors.astype(np.float32)[:, None, None])


def _check_survey(header: Header, survey: Survey) -> None:
    """Refuse an image whose card SURVEY names another built-in survey; releases of one pass."""
    stated, known = card_text(header, "SURVEY").lower(), builtin_surveys()
    if {stated, survey.name} <= known.keys() and _family(stated) != _family(survey.name):
        raise CutoutError(
            f"the header says SURVEY = {card_text(header, 'SURVEY')}, but the image is read as "
            f"{survey.name}; name the survey of the image, or give a definition of your own"
        )


def _family(name: str) -> str:
    return name.split("-")[0]


def flux_factors(
    header: Header, survey: Survey, pixel_scale_arcsec: float, planes: int
) -> np.ndarray:
    """Return the survey's flux units in one unit of the file, for each plane; see `calibrate`."""
    _check_survey(header, survey)
    headers = plane_headers(header, planes)
    if all(own is header for own in headers):
        return np.full(planes, _flux_factor(header, survey, pixel_scale_arcsec))
    return np.array([_flux_factor(own, survey, pixel_scale_arcsec) for own in headers])


def is_photometric(header: Header) -> bool:
    """Test if a file does not say that its fluxes are interpolated, as one of a HiPS does."""
    return header.get("PHOTOMET") is not False


def follows_area(header: Header, survey: Survey) -> bool:
    """Test if the factors of `flux_factors` are proportional to the area of a pixel."""
    unit = card_text(header, "BUNIT")
    if not unit or _COUNTS.fullmatch(unit) or survey.flux_pixel_scale_arcsec:
        return False
    return _janskys(unit)[1]


def _flux_factor(header: Header, survey: Survey, pixel_scale_arcsec: float) -> float:
    unit = card_text(header, "BUNIT")
    counts = _COUNTS.fullmatch(unit)
    is_physical = bool(unit) and not counts
    stated = find_zeropoint(header, survey, of_counts=not is_physical)
    if is_physical:
        side = survey.flux_pixel_scale_arcsec or pixel_scale_arcsec
        return _physical_factor(unit, stated, survey, side)
    if counts and stated is None and survey.flux_unit != "count":
        raise CutoutError(
            f"BUNIT says {unit!r} but {survey.name} is defined in {survey.flux_unit!r} and the "
            "header names no zeropoint; add a MAGZERO card, or define the survey in counts"
        )
    if stated is None and survey.needs_zeropoint:
        raise CutoutError(
            f"the header states neither a flux unit nor a zeropoint, and those of {survey.name} "
            "differ between images; add a BUNIT of flux or a MAGZERO card"
        )
    zeropoint = survey.zeropoint_mag if stated is None else stated.mag
    factor = 10 ** (0.4 * (survey.zeropoint_mag - zeropoint))
    if not (counts and counts["rate"]):
        factor /= _seconds(header, survey, stated, is_total=bool(counts))
    if stated is not None:
        factor *= _counts_per_pixel_unit(header, unit, stated)
    return float(factor)


def _seconds(header: Header, survey: Survey, stated: Zeropoint | None, is_total: bool) -> float:
    """Return the exposure time by which pixels are divided that are no counts per second."""
    is_rate = stated is not None and stated.is_rate
    if not (is_rate or survey.exposure_keyword):
        return 1.0
    card = survey.exposure_keyword or _EXPOSURE_CARD
    if not is_total and not survey.exposure_keyword:  # in the unit of the zeropoint, or not
        if stated is None or card not in header or card_number(header, card) == 1:
            return 1.0
        raise CutoutError(
            f"{stated.card} is the zeropoint of one count per second but no BUNIT says if the "
            "pixels are counts or counts per second; state BUNIT as 'adu' or 'adu/s'"
        )
    try:
        seconds = card_number(header, card)
    except CutoutError:
        seconds = np.nan
    if not seconds > 0:
        shown = str(header.get(card, "missing"))
        raise CutoutError(f"needs the exposure time in card {card} but it is {shown}")
    return seconds


def _counts_per_pixel_unit(header: Header, unit: str, stated: Zeropoint) -> float:
    """Return the counts of the zeropoint in one of the pixels: the gain converts them."""
    own = count_of(unit)
    if own is None or stated.count in (None, own):
        return 1.0
    card = next((name for name in _GAIN_CARDS if name in header), None)
    gain = np.nan if card is None else card_number(header, card)
    if not gain > 0:
        raise CutoutError(
            f"{stated.card} is the zeropoint of one {stated.count} but BUNIT says {unit!r} and no "
            "GAIN [electrons per ADU] converts them; add the card, or convert the pixels"
        )
    return 1 / gain if own == "electron" else gain


def linearise(pixels: np.ndarray, header: Header) -> np.ndarray:
    """Undo the asinh scaling of a Pan-STARRS stack, if the header has its cards.

    flux = BOFFSET + 2 BSOFTEN sinh(value / α), α = 2.5 log10 e (Waters et al. 2020, ApJS 251, 4).
    """
    if "BSOFTEN" not in header or "BOFFSET" not in header:
        return pixels
    soften, offset = (card_number(header, card) for card in ("BSOFTEN", "BOFFSET"))
    with np.errstate(over="ignore"):  # to infinity, which counts as missing
        sinh = np.sinh(pixels.astype(np.float64) / (2.5 * np.log10(np.e)))
        return np.asarray(offset + 2 * soften * sinh, np.float32)


def states_unit(header: Header) -> bool:
    """Test if a header states a unit or a zeropoint."""
    return bool(card_text(header, "BUNIT")) or states_zeropoint(header)


def noise_header(image: Header, noise: Header, kind: Kind) -> Header:
    """Return the header that calibrates the noise of an image, by the unit of the noise's own HDU.

    `kind` is that of its pixels, as in `galaxy_da.images.masks.noise_of`: the root is taken of the
    unit of a variance. A noise HDU without a unit is in the image's; one of variances may repeat
    the image's unit.

    Raises
    ------
    CutoutError
        If the noise states a unit of which there is no such root.
    """
    unit, own = card_text(noise, "BUNIT"), states_zeropoint(noise)
    header = image
    if own:
        header = without_zeropoints(image)
        header.extend(noise, unique=True)
    if unit and unit != card_text(image, "BUNIT"):
        root = _root(unit, _POWERS[kind])
        header = header.copy() if own or _COUNTS.fullmatch(root) else type(image)()
        header["BUNIT"] = root
    return header


def calibration_cards(survey: Survey) -> dict[str, str | float]:
    """Return the header cards of pixels that are in the survey's flux unit."""
    cards: dict[str, str | float] = (
        {"MAGZERO": survey.zeropoint_mag}
        if survey.flux_unit == "count"
        else {"BUNIT": survey.flux_unit}
    )
    return cards | ({survey.exposure_keyword: 1.0} if survey.exposure_keyword else {})


def _physical_factor(
    text: str, stated: Zeropoint | None, survey: Survey, flux_pixel_arcsec: float
) -> float:
    """Return the survey's flux units in one physical unit, per pixel or per area."""
    jansky, is_per_area = _janskys(text)
    if is_per_area:
        jansky *= flux_pixel_arcsec**2
    zeropoint = _JANSKY_ZEROPOINT - 2.5 * np.log10(jansky)
    if stated is not None and abs(stated.mag - zeropoint) > ZEROPOINT_TOLERANCE:
        raise CutoutError(
            f"BUNIT {text!r} means an AB zeropoint of {zeropoint:.2f} but {stated.card} says "
            f"{stated.mag:.2f}; correct one of the two cards"
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

    try:
        unit = _unit(text).decompose()
        powers = dict(zip(unit.bases, unit.powers, strict=True))
    except (ValueError, TypeError, AttributeError) as error:  # magnitudes have no bases
        raise CutoutError(
            f"BUNIT {text!r} is no unit that astropy knows; correct the card, or remove it to use "
            "the unit of the survey's definition"
        ) from error
    maggies, pixels = powers.get(u.mgy, 0), powers.get(u.pix, 0)
    return 1 * unit * (3631 * u.Jy / u.mgy) ** maggies / u.pix**pixels


def _root(text: str, power: int) -> str:
    """Return the unit of which a unit is a power; counts may be without it."""
    counts = re.sub(r"^1\s*/\s*|[()]|(\^|\*\*)?-?2\b", "", text).strip()
    if power == 1 or _COUNTS.fullmatch(counts):
        return text if power == 1 else counts
    try:
        return str(_unit(text) ** (1 / power))
    except (ValueError, TypeError, AttributeError) as error:
        raise CutoutError(
            f"BUNIT {text!r} of the noise is no unit that astropy knows; correct the card, or "
            "remove it to use the unit of the image"
        ) from error


def _unit(text: str) -> UnitBase:
    """Parse a unit in the spellings of headers; raises ValueError if it is none."""
    import astropy.units as u

    spelled = text
    if text.isupper() and (len(text) > 3 or "/" in text):  # as old headers write everything
        spelled = text.lower().replace("hz", "Hz")
        if "sr" in spelled:
            spelled = spelled.replace("mjy", "MJy")
        elif "mjy" in spelled:
            raise ValueError("mega or milli")
    for pattern, replacement in _SPELLINGS:
        spelled = pattern.sub(replacement, spelled)
    with quiet():
        return u.Unit(spelled, parse_strict="raise")
