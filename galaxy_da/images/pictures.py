"""Read JPEG and PNG pictures."""

from __future__ import annotations

import io

import numpy as np

from galaxy_da.errors import CutoutError

__all__ = ["read_picture"]


def read_picture(data: bytes) -> np.ndarray:
    """Return a colour picture as a (3, y, x) uint8 array, top row first, without alpha plane.

    Raises
    ------
    CutoutError
        If it is no picture, or has not three planes of 8 bits.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CutoutError(f"not a readable FITS, JPEG or PNG image ({error})") from error
    if pixels.ndim != 3 or pixels.shape[2] < 3 or pixels.dtype != np.uint8:
        raise CutoutError(
            f"a colour image must have 3 planes of 8 bits but has shape {pixels.shape}, "
            f"{pixels.dtype}"
        )
    return np.moveaxis(pixels[..., :3], -1, 0)
