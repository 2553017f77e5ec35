"""Read the zeropoint of an image from the cards of its header, and the count that it refers to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from galaxy_da.errors import CutoutError
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

Count = Literal["ADU", "electron"]

ZEROPOINT_TOLERANCE = 0.05
"""Difference of two statements of the zeropoint that counts as a contradiction [mag]."""

_CARDS = (
    "MAGZERO", "MAGZPT", "MAGZP", "MAGZEROP", "PHOTZP", "ZEROPNT", "ZEROPOINT", "ZP", "ZPT",
    "ABZP", "ABMAGZP", "ZP_AB",
)  # fmt: skip
_FLUX_CARDS = ("FLUXMAG0", "PHOTFNU", "PHOTFLAM")
_NUMBERED = re.compile(rf"({'|'.join(_CARDS)})_?(\d{{1,2}})")
_SYSTEM_CARDS = ("MAGSYS", "ZPSYS", "PHOTSYS", "MAGTYPE")
_OTHER_SYSTEM = re.compile(r"\b(vega|st ?mag)|\bst\b", re.IGNORECASE)
_VEGA_CAMERAS = ("WFCAM", "VIRCAM")
"""Cameras of UKIDSS and VISTA, whose pipelines state Vega zeropoints without saying so."""

_LIKE_ZEROPOINT = re.compile(
    r"(MAG_?|PHOT_?|AB_?|ABMAG_?|SEX|FILT|CALIB_?|FPA\.)?"
    r"(ZP|ZPT|ZERO|ZEROP|ZEROPT|ZMAG|MAG_?0|MAG_?ZERO|MAG_?ZPT?|MZERO|MGZPT)(_?(MAG|AB|ADU|PT))?"
    r"(_?[A-Z]|_?\d{1,2})?"
)
_RANGE = (-5.0, 60.0)
_SECOND = r"s(ec(ond)?s?)?\b"
_PER_SECOND = re.compile(
    rf"(?P<mag>mag(nitude)?s?\s*)?(/|\bper)\s*(1|one)?\s*{_SECOND}|\b(1|one)[\s-]*{_SECOND}|"
    r"\b(s|sec)\s?(\^|\*\*)?-1\b|\bcount[\s-]?rate|\bcps\b",
    re.IGNORECASE,
)
_COUNT_NAMES: dict[Count, re.Pattern[str]] = {
    "ADU": re.compile(r"\b(adu|dn|data numbers?)\b", re.IGNORECASE),
    "electron": re.compile(r"\be-(?!\w)|electrons?\b|\b(1|one) e\b|^e$", re.IGNORECASE),
}
_ANGSTROM_HZ = 2.99792458e18
"""Speed of light [angstrom / s]."""


@dataclass(frozen=True, kw_only=True)
class Zeropoint:
    """The AB magnitude of one count that a header states.

    Attributes
    ----------
    card : str
        Card that states it.
    mag : float
        AB magnitude.
    is_rate : bool
        True if the count is one per second.
    count : str or None
        Kind of the count, if it is stated.
    """

    card: str
    mag: float
    is_rate: bool
    count: Count | None


def find_zeropoint(header: Header, survey: Survey, *, of_counts: bool) -> Zeropoint | None:
    """Return the zeropoint that a header states, None if it states none.

    `of_counts` says if the pixels are counts: only theirs are ``PHOTFNU`` and ``PHOTFLAM``.

    Raises
    ------
    CutoutError
        If two cards differ, one is no AB magnitude, or one is not understood.
    """
    found = {name: card_number(header, name) for name in _CARDS if name in header}
    found |= _of_fluxes(header, _FLUX_CARDS if of_counts else _FLUX_CARDS[:1])
    if not found:
        _refuse_unread(header, survey)
        return None
    (card, value), *others = found.items()
    for name in found:
        _check_system(header, name)
    for other, second in others:
        if abs(second - value) > ZEROPOINT_TOLERANCE:
            raise CutoutError(
                f"{card} states the zeropoint {value:.3f} but {other} states {second:.3f}; remove "
                "the wrong card"
            )
    if not _RANGE[0] < value < _RANGE[1]:
        raise CutoutError(f"{card} states the zeropoint {value:g}, which no survey has")
    comments = {name: str(header.comments[name]) for name in found}
    is_rate = any(name.startswith("PHOTF") or _is_rate(comments[name], name, value, survey)
                  for name in found)  # fmt: skip
    count = next((kind for name in found if (kind := count_of(comments[name]))), None)
    return Zeropoint(card=card, mag=value, is_rate=is_rate, count=count)


def states_zeropoint(header: Header) -> bool:
    """Test if a header has a card of the zeropoint."""
    return any(card in header for card in (*_CARDS, *_FLUX_CARDS)) or any(
        map(_NUMBERED.fullmatch, header)
    )


def without_zeropoints(header: Header) -> Header:
    """Return a copy of a header without the cards of the zeropoint."""
    copy = header.copy()
    for card in (*_CARDS, *_FLUX_CARDS):
        copy.remove(card, ignore_missing=True)
    return copy


def plane_headers(header: Header, planes: int) -> list[Header]:
    """Return the header of each plane: one for all, or one each by MAGZERO0, MAGZERO1, ...

    Raises
    ------
    CutoutError
        If the numbered cards are not one per plane.
    """
    numbered = [match for card in header if (match := _NUMBERED.fullmatch(card))]
    if not numbered:
        return [header] * planes
    first = min(int(match[2]) for match in numbered)
    headers = [header.copy() for _ in range(planes)]
    for stem in {match[1] for match in numbered}:
        cards = {int(match[2]): match[0] for match in numbered if match[1] == stem}
        if first > 1 or sorted(cards) != list(range(first, first + planes)):
            raise CutoutError(
                f"the zeropoints {', '.join(cards.values())} are not one for each of the {planes} "
                "planes; state one MAGZERO, or MAGZERO0 and so on for every plane"
            )
        for number, card in cards.items():
            headers[number - first].set(stem, header[card], header.comments[card])
    return headers


def count_of(text: str) -> Count | None:
    """Return the kind of count that a unit or a comment names, None for any count."""
    return next((kind for kind, names in _COUNT_NAMES.items() if names.search(text)), None)


def card_text(header: Header, card: str) -> str:
    """Return a card as text, empty where it is missing or says nothing."""
    text = str(header.get(card, "") or "").strip().strip("'\"")
    return "" if text.lower() in ("none", "unknown", "-", "n/a") else text


def card_number(header: Header, card: str) -> float:
    """Return a card as a number, also one written as text."""
    value = header.get(card)
    try:
        number = np.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        stated = repr(value) if isinstance(value, str) else {True: "T", False: "F"}.get(value, "")
        raise CutoutError(f"card {card} must be a number but is {stated or 'missing'}")
    return float(number)


def _of_fluxes(header: Header, cards: tuple[str, ...]) -> dict[str, float]:
    """Return the AB magnitudes of one count by cards of flux.

    ``FLUXMAG0`` is the counts of magnitude 0; ``PHOTFNU`` [Jy s] and ``PHOTFLAM`` [erg/cm²/Å], with
    the pivot wavelength ``PHOTPLAM`` [Å], the flux of one count per second (HST Data Handbook).
    """
    found = {}
    for card in (name for name in cards if name in header):
        flux = card_number(header, card)
        if flux == 0 and card != "FLUXMAG0":  # of files that are not calibrated
            continue
        if not flux > 0:
            raise CutoutError(f"{card} must be positive but is {flux:g}")
        if card == "FLUXMAG0":
            found[card] = 2.5 * float(np.log10(flux))
            continue
        if card == "PHOTFLAM":
            flux *= 1e23 * card_number(header, "PHOTPLAM") ** 2 / _ANGSTROM_HZ
        found[card] = -2.5 * float(np.log10(flux / 3631))
    return found


def _is_rate(comment: str, card: str, mag: float, survey: Survey) -> bool:
    """Test if the comment of a zeropoint says that it is of one count per second.

    "Magnitudes/s" can mean either: DES writes it of coadds that are scaled to their zeropoint.
    """
    found = _PER_SECOND.search(comment)
    if found and found["mag"]:
        is_defined = survey.flux_unit == "count" and not survey.exposure_keyword
        if is_defined and abs(mag - survey.zeropoint_mag) < ZEROPOINT_TOLERANCE:
            return False
        raise CutoutError(
            f"the comment of {card} says {comment!r}: of counts, or of counts per second; write "
            "'per second' or remove the comment"
        )
    return found is not None


def _refuse_unread(header: Header, survey: Survey) -> None:
    """Refuse a card that looks like another zeropoint than the survey's and is not read."""
    for card in filter(_LIKE_ZEROPOINT.fullmatch, header):
        try:
            value = card_number(header, card)
        except CutoutError:
            continue
        if 10 < value < 40 and abs(value - survey.zeropoint_mag) > ZEROPOINT_TOLERANCE:
            raise CutoutError(
                f"card {card} looks like a zeropoint of {value:g} but {survey.name} is defined "
                f"with {survey.zeropoint_mag:g}; state it as MAGZERO [AB mag], or remove the card"
            )


def _check_system(header: Header, card: str) -> None:
    """Refuse a zeropoint that is not AB by a card of the system, its comment or the camera."""
    stated = {name: card_text(header, name) for name in _SYSTEM_CARDS}
    stated[f"the comment of {card}"] = str(header.comments[card])
    for name, text in stated.items():
        if _OTHER_SYSTEM.search(text):
            raise CutoutError(
                f"{name} says {text!r}: the zeropoint {card} is not an AB magnitude; convert it"
            )
    camera = card_text(header, "INSTRUME")
    if camera.upper() in _VEGA_CAMERAS and not stated["MAGSYS"].upper().startswith("AB"):
        raise CutoutError(
            f"the zeropoint {card} of {camera} is a Vega magnitude; convert it to AB and state "
            "MAGSYS = 'AB'"
        )
