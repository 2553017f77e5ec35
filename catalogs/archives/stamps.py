"""Checks of replies before they count as cutouts, and cubes of single bands.

Error pages, cut-off files, blank stamps and stamps of the wrong size each get their own status.
Throughout, `label` names service and position in messages.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from galaxy_da.errors import CutoutError
from galaxy_da.images import fits as images
from galaxy_da.images.calibration import calibrate
from galaxy_da.images.fits import is_fits
from galaxy_da.images.placement import locate
from galaxy_da.images.wcs import celestial_wcs, pixels_of, sky_of
from galaxy_da.surveys import Survey

if TYPE_CHECKING:
    from astropy.io.fits import Header

BLACK_SHARE = 0.85
"""A colour stamp with more pure black than this shows no sky: SkyServer's "outside the SDSS
footprint" tile has 0.91; of 9,000 real SDSS cutouts 99.9% are below 0.25, the highest at 0.79."""

_EXCERPT = 60
_GRID_TOLERANCE_PX = 0.05
_REACH_SLACK_PX = 2


class Place(NamedTuple):
    """Position [ICRS deg] of a cutout, and the words for it in messages."""

    ra: float
    dec: float
    label: str


@dataclass(frozen=True)
class Stamp:
    """The image of a FITS reply."""

    pixels: NDArray[np.float32]  # (planes, y, x) in the file's own unit
    header: Header  # of the image, with the further cards of the primary HDU


def read_fits(data: bytes, label: str, survey: Survey) -> Stamp:
    """Read the image of a FITS reply, to its last byte, masked pixels as NaN.

    A reply that is not FITS, is cut off, or holds no image is ``unreadable``.
    """
    if not is_fits(data):
        raise CutoutError(f"{label}: expected FITS but got {_excerpt(data)}")
    try:
        image, *others = images.read_fits(data, survey)
    except CutoutError as error:
        raise CutoutError(f"{label}: {error}", error.status) from error
    if others:
        raise CutoutError(f"{label}: expected one image but it holds {1 + len(others)}")
    return Stamp(image.pixels, image.header)


def check_flux(
    pixels: NDArray[np.float32],
    label: str,
    *,
    planes: int | None = None,
    side: int | None = None,
    slack: int = 0,
) -> None:
    """Refuse (planes, y, x) flux of the wrong shape, or blank.

    The service may round `side` by `slack` pixels. A wrong shape is ``failed_quality``; bands that
    are all constant or not finite are ``no_data``.
    """
    if pixels.ndim != 3 or (planes is not None and len(pixels) != planes):
        raise _bad(label, f"expected {planes} bands but the image has shape {pixels.shape}")
    _check_side(pixels.shape[1:], label, side, slack)
    good = np.isfinite(pixels)
    high = np.max(pixels, axis=(1, 2), where=good, initial=-np.inf)
    low = np.min(pixels, axis=(1, 2), where=good, initial=np.inf)
    if not np.any(high > low):
        raise CutoutError(f"{label}: blank, every pixel is NaN or the same", status="no_data")


def check_colour(data: bytes, label: str, *, side: int) -> None:
    """Refuse a reply that is not a whole JPEG or PNG of the sky.

    It is ``unreadable``, of ``failed_quality`` for its shape, or ``no_data`` if it is of one flat
    colour or nearly all black.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise CutoutError(f"{label}: expected a picture but got {_excerpt(data)}") from error
    _check_side(pixels.shape[:2], label, side, 0)
    black = float((pixels.max(axis=2) == 0).mean())
    if black > BLACK_SHARE or not np.ptp(pixels, axis=(0, 1)).any():
        raise CutoutError(
            f"{label}: no sky in the picture (pure black: {black:.0%} of it)", status="no_data"
        )


def in_survey_flux(stamp: Stamp, survey: Survey, label: str) -> Stamp:
    """Return a stamp in the survey's flux unit, as its header and the survey's definition say.

    A header that contradicts itself or the definition is ``failed_quality``.
    """
    try:
        place = locate(stamp.header, stamp.pixels.shape[1:])
        scale = place.pixel_scale_arcsec if place else survey.pixel_scale_arcsec
        return Stamp(calibrate(stamp.pixels, stamp.header, survey, scale), stamp.header)
    except CutoutError as error:
        raise _bad(label, str(error)) from error


def flux_stamp(
    data: bytes, label: str, survey: Survey, *, side: int | None = None, slack: int = 0
) -> Stamp:
    """Read and check the image of one band in the survey's flux unit; see `check_flux`."""
    stamp = in_survey_flux(read_fits(data, label, survey), survey, label)
    check_flux(stamp.pixels, label, planes=1, side=side, slack=slack)
    return stamp


def reaching_stamp(data: bytes, place: Place, survey: Survey, side_arcsec: float) -> Stamp:
    """Read one band as `flux_stamp`; an end within half a side of the place is failed_quality."""
    ra, dec, label = place
    stamp, side_px = flux_stamp(data, label, survey), side_arcsec / survey.pixel_scale_arcsec
    x, y = pixels_of(_celestial(stamp.header, label), ra, dec)
    height, width = stamp.pixels.shape[1:]
    if not min(x, width - 1 - x, y, height - 1 - y) >= side_px / 2 - _REACH_SLACK_PX:
        raise _bad(
            label,
            f"asked for {side_px:.0f} pixels around the galaxy, which lies at pixel "
            f"({x:.0f}, {y:.0f}) of {width} x {height}: at the edge of an image",
        )
    return stamp


def write_cube(
    stamps: Mapping[str, Stamp], label: str, cards: Mapping[str, str | int | float | bool]
) -> bytes:
    """Write one-band stamps of one pixel grid as a FITS cube with the WCS and some more cards.

    Cards ``BAND0`` and so on name the bands. Bands on different grids are ``failed_quality``.
    """
    from astropy.io import fits

    names, parts = list(stamps), list(stamps.values())
    header = _celestial(parts[0].header, label).to_header(relax=True)  # the WCS alone
    for name, part in zip(names[1:], parts[1:], strict=True):
        _check_grid(header, part, f"{label}, {names[0]} and {name}")
    for number, name in enumerate(names):
        header[f"BAND{number}"] = name
    header.update(cards)
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.concatenate([part.pixels for part in parts]), header).writeto(buffer)
    return buffer.getvalue()


def _bad(label: str, reason: str) -> CutoutError:
    return CutoutError(f"{label}: {reason}", "failed_quality")


def _excerpt(data: bytes) -> str:
    """Describe an unexpected reply in a few words."""
    if not data:
        return "an empty reply"
    text = " ".join(data[: 2 * _EXCERPT].decode("latin-1").split())[:_EXCERPT]
    return f"{len(data)} bytes that start {text!r}"


def _check_side(shape: Sequence[int], label: str, side: int | None, slack: int) -> None:
    if side is not None and any(abs(length - side) > slack for length in shape):
        raise _bad(
            label,
            f"asked for {side} x {side} pixels but got {shape[1]} x {shape[0]}: clipped by the "
            "service, or at the edge of an image",
        )


def _check_grid(header: Header, other: Stamp, label: str) -> None:
    """Refuse a stamp whose corners or middle lie on other pixels."""
    first, second = _celestial(header, label), _celestial(other.header, label)
    height, width = other.pixels.shape[1:]
    x, y = np.array([0.0, width / 2, width]), np.array([0.0, height / 2, height])
    moved = np.hypot(*np.subtract(pixels_of(first, *sky_of(second, x, y)), (x, y)))
    if not np.all(moved < _GRID_TOLERANCE_PX):
        raise _bad(label, f"bands lie on different pixels, {np.max(moved):.2f} px apart")


def _celestial(header: Header, label: str) -> Any:
    try:
        wcs = celestial_wcs(header)
    except CutoutError as error:
        raise _bad(label, str(error)) from error
    if wcs is None:
        raise _bad(label, "the image has no celestial WCS")
    return wcs
