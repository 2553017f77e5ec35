"""Read from one FITS image what its survey's definition has to say.

Only statements of the header are taken: pixels by the WCS, bands, unit, zeropoint, seeing. The
depth follows from the image's noise. Nothing is guessed but the wavelengths of well-known filters.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from galaxy_da.errors import CutoutError, SurveyError, first_line
from galaxy_da.images.cutouts import read_image
from galaxy_da.images.fits import is_fits, read_fits
from galaxy_da.images.placement import locate
from galaxy_da.images.zeropoints import card_number, card_text, find_zeropoint
from galaxy_da.io.storage import PathOrUrl, location, read_bytes
from galaxy_da.surveys import Band, Survey, builtin_surveys

if TYPE_CHECKING:
    from astropy.io.fits import Header

_GAUSSIAN_FWHM = 2.3548200450309493
"""Full width at half maximum of a Gaussian over its standard deviation."""

_WAVELENGTHS_NM = {
    "u": 360, "g": 480, "r": 625, "i": 760, "z": 900, "y": 970, "U": 365, "B": 440, "V": 550,
    "R": 640, "I": 800, "Z": 880, "Y": 1020, "J": 1250, "H": 1640, "K": 2200, "Ks": 2150,
    "VIS": 715, "w": 610,
}  # fmt: skip
_SPACE_FILTER = re.compile(r"F(\d{3})[WMNLX]?P?\d*", re.IGNORECASE)
_NANOMETRE_FILTERS = ("HST", "GALEX")
"""Telescopes whose filters F300 to F850 are in nanometres; others count in 10 nm."""

_FLUX_UNITS = {"nmgy": "nanomaggy", "mgy": "maggy", "njy": "nJy", "ujy": "uJy", "jy": "Jy"}
_SEEING_CARDS = ("PSF_FWHM", "PSFFWHM", "FWHM", "SEEING", "IQ", "PSFSIZE", "IQFINAL")
_FEWEST_PIXELS = 50


@dataclass(frozen=True, kw_only=True)
class Stated:
    """Fields of a survey's definition that one image states, and where each was found.

    Attributes
    ----------
    fields : dict of str
        Values by field: those of `Survey`, ``bands`` (names, separated by commas), and
        ``BAND.depth_mag``, ``BAND.wavelength_nm`` and so on.
    sources : dict of str to str
        What each value was taken from, in words.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: Any, source: str) -> None:
        """Note a value with its source."""
        self.fields[name] = value
        self.sources[name] = source


def read_stated(path: PathOrUrl) -> Stated:
    """Read what a FITS image says of its survey.

    Raises
    ------
    SurveyError
        If the file is missing, is no FITS, or holds no image.
    """
    header, pixels = _first_image(path)
    stated = Stated()
    try:
        placement = locate(header, (pixels.shape[-2], pixels.shape[-1]))
    except CutoutError:
        placement = None
    if placement is not None:
        scale = round(placement.pixel_scale_arcsec, 4)
        stated.add("pixel_scale_arcsec", scale, "WCS of the image")
    _add_name(stated, header)
    bands = _bands(header, len(pixels))
    if bands:
        stated.add("bands", ",".join(bands), "band cards of the header")
    _add_unit(stated, header)
    for card in _SEEING_CARDS:
        width = _number(header, card)
        if width and 0.02 < width < 4 and "pix" not in str(header.comments[card]).lower():
            stated.add("psf_fwhm_arcsec", width, f"card {card}, taken as arcseconds")
            break
    for band in bands:
        wavelength = wavelength_of(band, str(header.get("TELESCOP", "")))
        if wavelength:
            stated.add(f"{band}.wavelength_nm", wavelength, "name of the filter")
    return stated


def wavelength_of(band: str, telescope: str = "") -> int | None:
    """Return the wavelength [nm] of a well-known filter by its name, None for any other.

    ``F814W`` is 814 nm of HST; ``F200W`` of another telescope is 2,000 nm.
    """
    match = _SPACE_FILTER.fullmatch(band)
    if match:
        number = int(match[1])
        is_nm = telescope.upper() in _NANOMETRE_FILTERS or (not telescope and number > 480)
        return number if is_nm and number > 200 else 10 * number
    last = re.split(r"[-_.\s]+", band.strip())[-1]
    for name in (last, last.rstrip("'*")):
        if name in _WAVELENGTHS_NM:
            return _WAVELENGTHS_NM[name]
    return None


def depth_of(path: PathOrUrl, survey: Survey) -> dict[str, float]:
    """Return the 5σ depth of each band [AB mag] that the noise of an image implies.

    It is that of a point source with the PSF of `survey`, for white noise as strong as that which
    the file states, or as in the outer eighth of the image.

    Raises
    ------
    CutoutError
        If the image cannot be read by the definition.
    """
    cutout = read_image(location(path), survey)
    if cutout.stretch is not None:
        return {}
    depths = {}
    for row, name in enumerate(cutout.bands):
        plane = cutout.pixels[row]
        noise = cutout.noise[row] if cutout.noise else _border_noise(plane)
        sigma_px = survey.band(name).psf_fwhm_arcsec / _GAUSSIAN_FWHM / cutout.pixel_scale_arcsec
        flux = 5 * noise * math.sqrt(4 * math.pi) * sigma_px  # King 1983, PASP 95, 163
        if flux > 0:
            depths[name] = round(survey.zeropoint_mag - 2.5 * math.log10(flux), 2)
    return depths


def _border_noise(plane: np.ndarray) -> float:
    """Return the robust scatter of the pixels near the edges, 0 if fewer than 50 have a value."""
    from astropy.stats import mad_std

    edge = max(2, min(plane.shape) // 8)
    inside = np.zeros(plane.shape, bool)
    inside[edge:-edge, edge:-edge] = True
    values = plane[~inside & np.isfinite(plane)]
    return float(mad_std(values)) if len(values) >= _FEWEST_PIXELS else 0.0


def _first_image(path: PathOrUrl) -> tuple[Header, np.ndarray]:
    """Return the header and the (planes, y, x) pixels of a file's image."""
    where = location(path)
    try:
        data = read_bytes(where)
        if not is_fits(data):
            raise SurveyError(f"{path}: is no FITS file; give one cutout of the survey as FITS")
        images = read_fits(data, _ANY_SURVEY)
    except OSError as error:
        raise SurveyError(f"{path}: cannot be read ({first_line(error)})") from error
    except CutoutError as error:
        raise SurveyError(f"{path}: {error}") from error
    return images[0].header, images[0].pixels


def _add_name(stated: Stated, header: Header) -> None:
    """Note the survey's name, from SURVEY, else from telescope and instrument."""
    parts = [card_text(header, card) for card in ("SURVEY", "TELESCOP", "INSTRUME")]
    title = parts[0] or " ".join(part for part in parts[1:] if part)
    name = re.sub(r"[^a-z0-9_.+-]+", "-", title.lower()).strip("-.+_")[:64]
    if name and name not in builtin_surveys():
        source = "card SURVEY" if parts[0] else "telescope and instrument of the header"
        stated.add("name", name, source)
        stated.add("title", title, source)


def _bands(header: Header, planes: int) -> list[str]:
    """Return the names of the planes' bands by the header, empty if it does not say."""
    text = card_text(header, "BANDS")
    if text:
        names = [part for part in re.split(r"[,;/|\s-]+", text) if part]
        names = list(text) if len(names) == 1 and len(text) == planes else names
        return names if len(names) == planes else []
    for stem in ("BAND", "FILTER"):
        for first in (0, 1):
            cards = [f"{stem}{first + plane}" for plane in range(planes)]
            if planes > 1 and all(card in header for card in cards):
                return [card_text(header, card) for card in cards]
    names = [card_text(header, card).split() for card in ("BAND", "FILTER", "FILTER1", "FILTER2")]
    named = [words[0] for words in names if words and not words[0].upper().startswith("CLEAR")]
    return named[:1] if planes == 1 else []


def _add_unit(stated: Stated, header: Header) -> None:
    """Note the flux unit of BUNIT, or counts with the zeropoint of a card."""
    text = card_text(header, "BUNIT")
    unit = _FLUX_UNITS.get(re.sub(r"magg(y|ies)", "mgy", text.lower().replace("nano", "n")))
    if unit:
        stated.add("flux_unit", unit, "card BUNIT")
        return
    try:
        zeropoint = find_zeropoint(header, _ANY_SURVEY, of_counts=True)
    except CutoutError:
        zeropoint = None
    if zeropoint is not None:
        stated.add("flux_unit", "count", f"zeropoint card {zeropoint.card}")
        stated.add("zeropoint_mag", round(zeropoint.mag, 3), f"card {zeropoint.card}")


def _number(header: Header, card: str) -> float | None:
    try:
        return card_number(header, card) if card in header else None
    except CutoutError:
        return None


_ANY_SURVEY = Survey(
    name="any",
    title="A survey that is not described yet",
    pixel_scale_arcsec=1,
    flux_unit="count",
    zeropoint_mag=25,
    bands=(Band(name="any", wavelength_nm=642, psf_fwhm_arcsec=1, depth_mag=24),),
)
"""Survey by which an image is read before its own is described."""
