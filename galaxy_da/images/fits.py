"""Read the image of a FITS file."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

from galaxy_da.errors import CutoutError

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["FITS_MAGIC", "read_fits"]

FITS_MAGIC = b"SIMPLE"
"""First bytes of every FITS file."""


def read_fits(data: bytes) -> tuple[np.ndarray, Header]:
    """Return the first image of a FITS file as float32 pixels, with its header.

    Raises
    ------
    CutoutError
        If the file is corrupt or truncated, or holds no image.
    """
    from astropy.io import fits

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(io.BytesIO(data), memmap=False, lazy_load_hdus=True) as hdus:
                hdu = next((h for h in hdus if h.is_image and h.header.get("NAXIS", 0) >= 2), None)
                if hdu is None:
                    raise CutoutError("the FITS file holds no image")
                return np.asarray(hdu.data, dtype=np.float32), hdu.header
    except (OSError, TypeError, ValueError, KeyError, fits.VerifyError) as error:
        raise CutoutError(f"corrupt or truncated FITS ({error})") from error
