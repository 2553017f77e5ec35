"""Place images on the sky: pixel scale, centre and orientation from the WCS of a header.

All of them are taken at the galaxy. Far from the reference point of a projection, or under
distortions, the matrix of the header says something else (Calabretta & Greisen 2002, A&A 395,
1077).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from galaxy_da.errors import CutoutError
from galaxy_da.images.wcs import celestial_wcs, pixels_of, sky_of

if TYPE_CHECKING:
    from astropy.io.fits import Header

_MOST_OBLONG = 10.0
"""Largest ratio of a pixel's axes; above it, the header is wrong."""

_SAME_PLACE_PX = 0.1
_MOST_SUBPIXELS = 16
_SAME_ORIENTATION = 0.009
"""Largest change of a pixel's axes that is ignored: half a degree, or 0.9% of shear or stretch."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Position, scale and orientation of an image at its galaxy.

    Attributes
    ----------
    centre_xy : (x, y) float
        Pixel coordinates of the galaxy; the centre of the first pixel is (0, 0).
    pixel_scale_arcsec : float
        Square root of the area of a pixel at the galaxy [arcsec].
    jacobian : (2, 2) float array
        Arcsec towards east and north (rows) per pixel in x and y (columns).
    """

    centre_xy: tuple[float, float]
    pixel_scale_arcsec: float
    jacobian: np.ndarray

    def north_up(
        self, pixels: np.ndarray, centre_xy: tuple[float, float] | None = None
    ) -> tuple[np.ndarray, tuple[float, float]]:
        """Return pixels north up and east left, and the galaxy's place among them.

        An image that is rotated, mirrored, sheared or of oblong pixels is interpolated onto an
        upright square of the same width with the galaxy in the middle, NaN outside the image.

        Parameters
        ----------
        pixels : (planes, y, x) float array
            Flux per pixel. Not modified.
        centre_xy : (x, y) float, optional
            Pixel coordinates of the galaxy in a section of the image.
        """
        centre_xy = centre_xy or self.centre_xy
        (a, b), (c, d) = self.jacobian.tolist()
        scale = self.pixel_scale_arcsec / (a * d - b * c)
        rows = (-scale * d, -scale * b), (scale * c, scale * a)  # by hand: in a tenth of the time
        if max(abs(rows[0][0] - 1), abs(rows[0][1]), abs(rows[1][0]), abs(rows[1][1] - 1)) < (
            _SAME_ORIENTATION
        ):
            return pixels, centre_xy
        matrix = np.array(rows)  # upright pixel offsets to this file's
        lengths = np.hypot(*self.jacobian) / self.pixel_scale_arcsec  # of steps in x and y
        side = int(np.ceil(max(pixels.shape[:0:-1] * lengths) - _SAME_ORIENTATION))
        middle = (side - 1) / 2
        rows_columns = matrix[::-1, ::-1]
        offset = np.array(centre_xy[::-1]) - rows_columns @ np.full(2, middle)
        return _interpolate(pixels, rows_columns, offset, (side, side)), (middle, middle)


def locate(
    header: Header, shape: tuple[int, int], position: tuple[float, float] | None = None
) -> Placement | None:
    """Find the place, scale and orientation of an image at its galaxy.

    Parameters
    ----------
    header : Header
        Header of the image.
    shape : (y, x) int
        Size of the image.
    position : (ra, dec) float, optional
        Position of the galaxy [ICRS deg]; by default the middle of the image.

    Returns
    -------
    Placement or None
        None without a celestial WCS.

    Raises
    ------
    CutoutError
        If the WCS cannot be read, or the position lies outside the image.
    """
    wcs = celestial_wcs(header)
    return None if wcs is None else placement(wcs, shape, position)


def placement(
    wcs: Any, shape: tuple[int, ...], position: tuple[float, float] | None = None
) -> Placement:
    """Return the placement of `locate` by a WCS of `celestial_wcs`."""
    height, width = shape
    if position is None:
        middle = np.array([(width - 1) / 2]), np.array([(height - 1) / 2])
        [place] = _placements(wcs, shape, middle, None)
    else:
        [place] = placements(wcs, shape, *np.array(position)[:, None])
    if isinstance(place, CutoutError):
        raise place
    return place


def placements(
    wcs: Any, shape: tuple[int, ...], ra: np.ndarray, dec: np.ndarray
) -> list[Placement | CutoutError]:
    """Return the placement of an image at each of (n,) ICRS positions [deg], or its error."""
    return _placements(wcs, shape, pixels_of(wcs, ra, dec), (ra, dec))


def _placements(
    wcs: Any,
    shape: tuple[int, ...],
    xy: tuple[np.ndarray, np.ndarray],
    positions: tuple[np.ndarray, np.ndarray] | None,
) -> list[Placement | CutoutError]:
    """Return placements at pixel coordinates; positions [deg] that led there are checked."""
    height, width = shape
    x, y = xy
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    jacobians, sky = _jacobians(wcs, np.where(inside, x, 0), np.where(inside, y, 0))
    finite = np.isfinite(jacobians).all((1, 2))
    axes = np.linalg.svd(np.where(finite[:, None, None], jacobians, 0), compute_uv=False)
    is_near = np.full(len(x), True)
    if positions is not None:
        is_near = _are_near(sky, np.radians(positions), _SAME_PLACE_PX * axes[:, 0])
    places: list[Placement | CutoutError] = []
    for k in range(len(x)):
        if positions is not None and not inside[k]:
            error = (
                f"ra {positions[0][k]:.5f}, dec {positions[1][k]:.5f} lies at pixel ({x[k]:.0f}, "
                f"{y[k]:.0f}) of a {width} x {height} stamp by its WCS: another galaxy's file, or "
                "a wrong header"
            )
            places.append(CutoutError(error, status="no_data"))
        elif not finite[k]:
            error = "the WCS places the pixels at the galaxy nowhere on the sky"
            places.append(CutoutError(error))
        elif not axes[k, 1] > axes[k, 0] / _MOST_OBLONG:
            error = (
                f"the WCS gives the pixels at the galaxy axes of {axes[k, 0]:.3g} and "
                f"{axes[k, 1]:.3g} arcsec; correct its matrix or CDELT"
            )
            places.append(CutoutError(error))
        elif not is_near[k]:
            error = (
                "the WCS cannot be inverted at the galaxy: its pixels lead back to another position"
            )
            places.append(CutoutError(error))
        else:
            place = Placement(
                centre_xy=(float(x[k]), float(y[k])),
                pixel_scale_arcsec=float(np.sqrt(axes[k, 0] * axes[k, 1])),
                jacobian=jacobians[k],
            )
            places.append(place)
    return places


def regrid(
    pixels: np.ndarray,
    centre_xy: tuple[float, float],
    shape: tuple[int, ...],
    new_centre_xy: tuple[float, float],
    ratio: float,
) -> np.ndarray:
    """Interpolate pixel values onto another upright grid, NaN outside the old one.

    The centres are the pixel coordinates of one position on both grids; `ratio` is the side of a
    new pixel over that of an old one. Values are not scaled by the area of a pixel.
    """
    offset = np.array(centre_xy[::-1]) - ratio * np.array(new_centre_xy[::-1])
    return _interpolate(pixels, ratio * np.eye(2), offset, shape)


def _are_near(sky: np.ndarray, positions: np.ndarray, arcsec: np.ndarray) -> np.ndarray:
    """Test if pairs of positions [radians] are closer than distances."""
    from astropy.coordinates import angular_separation

    return np.asarray(np.degrees(angular_separation(*sky, *positions)) * 3600 < arcsec)


def _jacobians(wcs: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return arcsec towards east and north per pixel in x and y, (n, 2, 2), at (n,) pixels.

    Also return their positions, (2, n) [radians]. The derivatives are central differences over one
    pixel.
    """
    steps = np.array([[0, 0.5, -0.5, 0, 0], [0, 0, 0, 0.5, -0.5]])[:, :, None]
    ra, dec = np.radians(sky_of(wcs, x + steps[0], y + steps[1]))
    east = np.cos(dec[1:]) * np.sin(ra[1:] - ra[0])
    north = np.sin(dec[1:]) * np.cos(dec[0]) - np.cos(dec[1:]) * np.sin(dec[0]) * np.cos(
        ra[1:] - ra[0]
    )
    offsets = np.degrees(np.stack([east, north])) * 3600  # (2, 4, n)
    jacobians = np.moveaxis(offsets[:, [0, 2]] - offsets[:, [1, 3]], -1, 0)
    return jacobians, np.array([ra[0], dec[0]])


def _interpolate(
    pixels: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Interpolate linearly, at several places of a new pixel that is wider than an old one."""
    from scipy.ndimage import affine_transform

    widest = np.linalg.norm(matrix, 2)
    n = int(np.clip(np.ceil(widest - _SAME_ORIENTATION), 1, _MOST_SUBPIXELS))
    matrix = matrix / n
    first = offset + matrix @ np.full(2, (1 - n) / 2)
    height, width = shape
    return np.stack(
        [
            affine_transform(plane, matrix, first, (height * n, width * n), order=1, cval=np.nan)
            .reshape(height, n, width, n)
            .mean((1, 3))
            for plane in pixels
        ]
    )
