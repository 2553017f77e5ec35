"""A cutout: pixels of one galaxy in one survey. Those of several bands are joined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from galaxy_da.errors import CutoutError, shape_text
from galaxy_da.images.placement import regrid
from galaxy_da.surveys import AnyStretch, Survey


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """Pixels of one galaxy in one survey, north up and east left.

    Attributes
    ----------
    pixels : (planes, y, x) array
        Flux in the survey's unit per pixel, NaN where there is none; or uint8 colour. The first row
        is the southernmost.
    bands : tuple of str
        The survey's band of each plane.
    pixel_scale_arcsec : float
        Side of a pixel [arcsec].
    centre_xy : (x, y) float
        Pixel coordinates of the galaxy; the centre of the first pixel is (0, 0).
    stretch : Stretch or None
        Stretch that `pixels` went through; None for flux.
    missing : (y, x) bool array or None
        Pixels of a colour image without data.
    noise : tuple of float or None
        Standard deviation of a pixel in each plane, if the file states it, in the unit of `pixels`.
    psf_fwhm_arcsec : float or None
        Width of this cutout's PSF in the survey's band nearest to r, if the table states it.
    has_wcs : bool
        True if a WCS gives the place of the galaxy and the scale.
    photometric : bool
        False if the file or the table says that its fluxes are not, as the file of a HiPS does.
    """

    pixels: np.ndarray
    bands: tuple[str, ...]
    pixel_scale_arcsec: float
    centre_xy: tuple[float, float]
    stretch: AnyStretch | None = None
    missing: np.ndarray | None = None
    noise: tuple[float, ...] | None = None
    psf_fwhm_arcsec: float | None = None
    has_wcs: bool = False
    photometric: bool = True


def join_bands(parts: Sequence[Cutout], survey: Survey) -> Cutout:
    """Return cutouts of one galaxy in different bands as one, on the pixels of the first.

    Raises
    ------
    CutoutError
        If a band repeats, or bands lie on different pixels and one has no WCS.
    """
    first, *others = parts
    if not others:
        return first
    moved = [first, *(_on_grid_of(first, part, survey) for part in others)]
    bands = sum((part.bands for part in moved), ())
    if len(set(bands)) != len(bands):
        raise CutoutError(f"images repeat a band: {', '.join(bands)}")
    stated = any(part.noise for part in moved)
    noise = sum((part.noise or (math.nan,) * len(part.bands) for part in moved), ())
    return replace(
        first,
        pixels=np.concatenate([part.pixels for part in moved]),
        bands=bands,
        noise=noise if stated else None,
        photometric=all(part.photometric for part in moved),
    )


def _on_grid_of(first: Cutout, part: Cutout, survey: Survey) -> Cutout:
    """Return a cutout on the pixels of another, in flux per pixel of that one.

    The noise is that of independent pixels of the new size.
    """
    ratio = first.pixel_scale_arcsec / part.pixel_scale_arcsec
    shape = first.pixels.shape[1:]
    shift = np.subtract(part.centre_xy, first.centre_xy)
    same_scale = abs(part.pixel_scale_arcsec / first.pixel_scale_arcsec - 1) < 1e-3
    if part.pixels.shape[1:] == shape and same_scale and np.abs(shift).max() < 0.01:
        return part
    if not (first.has_wcs and part.has_wcs):
        sizes = [shape_text(cutout.pixels.shape[1:]) for cutout in (first, part)]
        raise CutoutError(
            f"bands {first.bands[0]} ({sizes[0]} pixels) and {part.bands[0]} ({sizes[1]}) lie on "
            "different pixels, and not both have sky coordinates; add a WCS to each"
        )
    per_pixel = 1.0 if survey.flux_pixel_scale_arcsec else ratio**2
    pixels = regrid(part.pixels, part.centre_xy, shape, first.centre_xy, ratio)
    noise = part.noise and tuple(sigma * per_pixel / ratio for sigma in part.noise)
    return replace(part, pixels=pixels * np.float32(per_pixel), noise=noise)
