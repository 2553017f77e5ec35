"""Read JPEG, PNG and other pictures as three colour planes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from galaxy_da.errors import CutoutError, first_line

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Picture", "colour_planes", "read_picture"]

_LARGEST_PIXELS = 100_000_000
_CONVERTED = {"P", "PA", "RGB", "RGBA", "RGBX", "RGBa"}
"""Modes that hold red, green and blue, with or without transparency."""


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

    Palettes are converted. Grey and CMYK pictures, and those of more than 8 bits, are refused: the
    stretch of a survey cannot be undone from them.

    Raises
    ------
    CutoutError
        If it is no picture, has too many pixels, or another mode than red, green and blue.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > _LARGEST_PIXELS:
                raise CutoutError(f"{image.width} x {image.height} pixels are too many to decode")
            upright = ImageOps.exif_transpose(image)
            if upright.mode not in _CONVERTED:
                raise CutoutError(
                    f"a picture of mode {upright.mode!r} is not red, green and blue; a survey's "
                    "stretch needs its 8-bit colour picture"
                )
            return _planes(upright)
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
        If neither axis, or either, could hold three or four colours.
    """
    last = pixels.ndim == 3 and pixels.shape[-1] in (3, 4)
    first = pixels.ndim == 3 and pixels.shape[0] in (3, 4)
    if first == last or 0 in pixels.shape:
        raise CutoutError(
            f"bytes of shape {pixels.shape} are no colour picture; expected (y, x, 3) or (3, y, x)"
        )
    planes = np.moveaxis(pixels, -1, 0) if last else pixels
    return Picture(colour=planes[:3], missing=planes[3] < 255 if len(planes) == 4 else None)


def _planes(image: Image) -> Picture:
    has_transparency = image.mode in ("RGBA", "RGBa", "PA") or "transparency" in image.info
    if not has_transparency:
        return colour_planes(np.asarray(image.convert("RGB")))
    return colour_planes(np.asarray(image.convert("RGBA")))
