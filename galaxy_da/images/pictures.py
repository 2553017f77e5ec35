"""Read JPEG, PNG and other pictures as three colour planes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from galaxy_da.errors import CutoutError, first_line, shape_text

if TYPE_CHECKING:
    from PIL.Image import Image

    from galaxy_da.surveys import Survey

_LARGEST_PIXELS = 100_000_000
_CONVERTED = {"P", "PA", "RGB", "RGBA", "RGBX", "RGBa"}
"""Modes that hold red, green and blue, with or without transparency."""

_JPEG_MAGIC = b"\xff\xd8\xff"
_SPECIAL_JPEG = (b"Exif\0", b"MPF\0", b"Orientation")
"""Marks of JPEG files with an orientation or several frames."""

_GREY_SPREAD = 2
"""Largest difference of red, green and blue, by lossy compression, in a grey picture."""

_SCALES = ((255.0, 0.0), (127.5, 127.5), (1.0, 0.0))
"""Factors and offsets from floats to bytes: of pictures from 0 to 1, -1 to 1, 0 to 255."""

_FEWEST_LEVELS = 8
_SAMPLED = 5000
_OF_BYTES = 1e-3
"""Distance from whole numbers of bytes that were written as floats."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A colour picture.

    Attributes
    ----------
    colour : (3, y, x) uint8 array
        Red, green and blue; the first row is the top one.
    missing : (y, x) bool array or None
        Transparent pixels, which hold no data.
    """

    colour: np.ndarray
    missing: np.ndarray | None = None


def read_picture(data: bytes) -> Picture:
    """Read a picture of any format that Pillow knows, turned as its EXIF orientation says.

    Palettes are converted. Grey and CMYK pictures, animations, and those of more than 8 bits, are
    refused: the stretch of a survey cannot be undone from them.

    Raises
    ------
    CutoutError
        If it is no picture, has too many pixels, several frames, or another mode than red, green
        and blue of 8 bits.
    """
    plain = _plain_jpeg(data)
    if plain is not None:
        return colour_planes(plain)
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > _LARGEST_PIXELS:
                raise CutoutError(f"{image.width} x {image.height} pixels are too many to decode")
            if image.mode not in _CONVERTED:
                raise CutoutError(
                    f"a picture of mode {image.mode!r} is not red, green and blue; a survey's "
                    "stretch needs its 8-bit colour picture"
                )
            _refuse_deep_or_several(image)
            return _planes(ImageOps.exif_transpose(image))
    except CutoutError:
        raise
    except Exception as error:  # decoders raise many kinds for damaged pictures
        raise CutoutError(
            f"not a readable FITS, JPEG or PNG image ({first_line(error)})"
        ) from error


def colour_planes(pixels: np.ndarray) -> Picture:
    """Return a uint8 array as a picture, its colours in the first or the last axis.

    Raises
    ------
    CutoutError
        If neither axis, or either, could hold three or four colours, or all of them are grey.
    """
    last = pixels.ndim == 3 and pixels.shape[-1] in (3, 4)
    first = pixels.ndim == 3 and pixels.shape[0] in (3, 4)
    if first == last or 0 in pixels.shape:
        raise CutoutError(
            f"bytes of shape {shape_text(pixels.shape)} are no colour picture; expected (y, x, 3) "
            "or (3, y, x)"
        )
    planes = np.moveaxis(pixels, -1, 0) if last else pixels
    colour, missing = planes[:3], planes[3] < 255 if len(planes) == 4 else None
    if _is_grey(colour[:, ::8, ::8], missing if missing is None else missing[::8, ::8]) and (
        _is_grey(colour, missing) and np.ptp(colour) > _GREY_SPREAD
    ):
        raise CutoutError(
            "red, green and blue are the same everywhere: a grey picture; a survey's stretch needs "
            "its 8-bit colour picture"
        )
    return Picture(colour=colour, missing=missing)


def refuse_colour_values(pixels: np.ndarray, survey: Survey) -> None:
    """Refuse an array of numbers that are the colours of a picture, not flux.

    These are bytes, also those divided by 255. Colours that were interpolated are known only by
    their last axis of three or four and by having no negative value, as noise around the sky has.
    """
    sample = np.ravel(pixels)[:: max(1, pixels.size // _SAMPLED)]
    finite = sample[np.isfinite(sample)].astype(np.float64)
    if not finite.size or survey.flux_unit == "count":
        return
    is_picture = any(_are_bytes(finite * factor + offset) for factor, offset in _SCALES)
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4) and pixels.shape[0] not in (3, 4):
        is_picture |= bool(finite.min() >= 0 and 0.1 < finite.max() <= 255)
    if is_picture:
        raise CutoutError(
            f"the values from {finite.min():g} to {finite.max():g} are the colours of a picture, "
            f"not flux in {survey.flux_unit}; give bytes of shape (y, x, 3), or flux of shape "
            "(bands, y, x)"
        )


def _plain_jpeg(data: bytes) -> np.ndarray | None:
    """Return the (y, x, 3) colours of a JPEG, or None for a picture that Pillow has to judge.

    These are damaged pictures, other formats and colours, and pictures that may be turned or hold
    several frames. The pixels are those of Pillow, in a third of the time.
    """
    if not data.startswith(_JPEG_MAGIC) or any(mark in data for mark in _SPECIAL_JPEG):
        return None
    import simplejpeg

    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in ("YCbCr", "RGB") or height * width > _LARGEST_PIXELS:
            return None
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB"))
    except ValueError:
        return None


def _are_bytes(values: np.ndarray) -> bool:
    """Test if values are whole numbers of 0 to 255, and not only a few of them."""
    levels = np.round(values)
    if levels.min() < 0 or levels.max() > 255 or np.abs(values - levels).max() > _OF_BYTES:
        return False
    return len(np.unique(levels)) > _FEWEST_LEVELS


def _is_grey(colour: np.ndarray, missing: np.ndarray | None) -> bool:
    spread = colour.max(0) - colour.min(0)
    return bool((spread if missing is None else spread[~missing]).max(initial=0) <= _GREY_SPREAD)


def _refuse_deep_or_several(image: Image) -> None:
    """Refuse a picture of more than 8 bits a colour, or of several frames."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise CutoutError(f"a picture of {frames} frames is no single image; save one of them")
    described = str([tile.args for tile in getattr(image, "tile", [])])
    if ";16" in described or "65535" in described:
        raise CutoutError(
            "a picture of 16 bits a colour is not red, green and blue of 8 bits, which a survey's "
            "stretch needs; save it with 8"
        )


def _planes(image: Image) -> Picture:
    has_transparency = image.mode in ("RGBA", "RGBa", "PA") or "transparency" in image.info
    if not has_transparency:
        return colour_planes(np.asarray(image.convert("RGB")))
    return colour_planes(np.asarray(image.convert("RGBA")))
