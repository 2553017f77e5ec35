"""Tell by name and header what an image HDU holds: science data, a mask, weights or noise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from galaxy_da.errors import CutoutError
from galaxy_da.images.bands import find_band
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

Kind = Literal["science", "mask", "maskbits", "inverse variance", "weight", "variance", "sigma",
               "other"]  # fmt: skip

NOISE_KINDS: tuple[Kind, ...] = ("inverse variance", "variance", "sigma")
"""Kinds whose pixels state the noise of the image."""

_WORDS: dict[str, Kind] = {
    **dict.fromkeys(("MASK", "MSK", "DQ", "BPM", "BADPIX", "FLAG", "FLAGS", "FLG"), "mask"),
    "MASKBITS": "maskbits",
    **dict.fromkeys(("INVVAR", "IVAR"), "inverse variance"),
    **dict.fromkeys(("WEIGHT", "WHT", "WGT", "WT"), "weight"),
    **dict.fromkeys(("VARIANCE", "VAR"), "variance"),
    **dict.fromkeys(("SIGMA", "RMS", "ERR", "ERROR", "NOISE", "STD", "STDDEV"), "sigma"),
    **dict.fromkeys(
        ("PSF", "SEG", "SEGM", "SEGMAP", "SEGIM", "SEGMENTATION", "SKY", "BKG", "BACKGROUND",
         "EXP", "EXPTIME", "NEXP", "COVERAGE", "MODEL", "RESID", "RESIDUAL", "CHI", "CTX",
         "DEPTH", "GALDEPTH", "PSFSIZE"),
        "other",
    ),
}  # fmt: skip
_SCIENCE_NAMES = {"SCI", "SCIENCE", "IMAGE", "IMG", "DATA", "FLUX", "COADD", "STACK"}


@dataclass(frozen=True, kw_only=True)
class Role:
    """Content of one image HDU.

    Attributes
    ----------
    kind : str
        Kind of the pixels.
    band : str or None
        The survey's band that the HDU is of, if it names one.
    is_named : bool
        True if the HDU is named as science data.
    """

    kind: Kind
    band: str | None
    is_named: bool


def role_of(header: Header, survey: Survey) -> Role:
    """Return the role of an image HDU.

    A name is split at everything but letters and digits, so that ``INVVAR_G`` is the inverse
    variance of the band ``g``. Without a name, ``IMAGETYP`` or ``IMTYPE`` decides, as in files of
    the Legacy Surveys.

    Raises
    ------
    CutoutError
        If its name and its cards say different bands.
    """
    named = (str(header.get(card, "") or "").strip() for card in ("EXTNAME", "IMAGETYP", "IMTYPE"))
    name = next((text for text in named if text not in ("", "COMPRESSED_IMAGE")), "")
    words, kind = _words(name), kind_of_name(name)
    named_band = next(
        (found for word in (*words, name) if (found := find_band(word, survey))), None
    )
    cards = (str(header.get(card, "")) for card in ("FILTER", "BAND"))
    band = next((found for text in cards if (found := find_band(text, survey))), None)
    if named_band and band and named_band != band:
        raise CutoutError(
            f"an extension is named {name} but its FILTER or BAND card says {band}; correct one"
        )
    band = named_band or band
    if kind is not None:
        return Role(kind=kind, band=band, is_named=False)
    is_named = any(word.upper() in _SCIENCE_NAMES for word in words)
    return Role(kind="science", band=band, is_named=is_named)


def kind_of_name(name: str) -> Kind | None:
    """Return the kind that a word of a name states, None for science data."""
    kinds = (_kind_of(word.upper()) for word in _words(name))
    return next((kind for kind in kinds if kind is not None), None)


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]


def _kind_of(word: str) -> Kind | None:
    """Return the kind that a word names; BADMASK is a mask, WEIGHTMAP a weight."""
    if word in _WORDS:
        return _WORDS[word]
    if word.endswith("MASK"):
        return "mask"
    return "weight" if word.startswith(("WEIGHT", "WHT")) else None
