"""Place images on the sky: pixel scale, centre and orientation from the WCS of a header."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from galaxy_da.errors import CutoutError

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["place_north_up", "regrid"]

_MAX_ROTATION_DEG = 0.5
"""Largest rotation that is ignored [deg]."""


def place_north_up(
    pixels: np.ndarray, header: Header, position: tuple[float, float] | None = None
) -> tuple[np.ndarray, float, tuple[float, float]] | None:
    """Put an image north up and east left by its WCS.

    A rotated or mirrored image is interpolated onto an upright square with the galaxy in the
    middle, NaN outside.

    Parameters
    ----------
    pixels : (planes, y, x) float array
        Fluxes. Not modified.
    position : (ra, dec) float, optional
        Position of the galaxy [ICRS deg]; by default the middle of the image.

    Returns
    -------
    (pixels, pixel scale [arcsec], (x, y) of the galaxy), or None without a celestial WCS

    Raises
    ------
    CutoutError
        If the position lies outside the image.
    """
    if not str(header.get("CTYPE1", "")).startswith(("RA", "GLON", "ELON")):
        return None
    from astropy.wcs import WCS, FITSFixedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(header, naxis=2)
    matrix = wcs.pixel_scale_matrix * 3600  # (east-or-west, north) arcsec per (x, y) pixel
    scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    height, width = pixels.shape[1:]
    x, y = (width - 1) / 2, (height - 1) / 2
    if position is not None:
        x, y = (float(v) for v in wcs.world_to_pixel_values(*position))
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise CutoutError(
                f"ra {position[0]:.5f}, dec {position[1]:.5f} lies at pixel ({x:.0f}, {y:.0f}) of "
                f"a {width} x {height} stamp by its WCS: another galaxy's file, or a wrong header",
                status="no_data",
            )
    upright = np.array([[-scale, 0.0], [0.0, scale]])
    rotation = np.linalg.solve(matrix, upright)  # upright pixel offsets to this file's
    angle = np.degrees(np.arctan2(rotation[0, 1], rotation[0, 0]))
    if abs(angle) < _MAX_ROTATION_DEG and np.linalg.det(rotation) > 0:
        return pixels, scale, (x, y)
    side = max(height, width)
    middle = (side - 1) / 2
    rows_columns = rotation[::-1, ::-1]
    offset = np.array((y, x)) - rows_columns @ np.full(2, middle)
    return _interpolate(pixels, rows_columns, offset, (side, side)), scale, (middle, middle)


def regrid(
    pixels: np.ndarray,
    centre_xy: tuple[float, float],
    shape: tuple[int, ...],
    new_centre_xy: tuple[float, float],
    ratio: float,
) -> np.ndarray:
    """Interpolate fluxes onto another upright grid, NaN outside the old one.

    The centres are the pixel coordinates of one position on both grids; `ratio` is the side of a
    new pixel over that of an old one.
    """
    offset = np.array(centre_xy[::-1]) - ratio * np.array(new_centre_xy[::-1])
    return _interpolate(pixels, np.full(2, ratio), offset, shape) * ratio**2


def _interpolate(
    pixels: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    from scipy.ndimage import affine_transform

    return np.stack(
        [affine_transform(plane, matrix, offset, shape, order=1, cval=np.nan) for plane in pixels]
    )
