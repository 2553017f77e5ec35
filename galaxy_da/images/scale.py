"""Pixel scale that a user gives for an image whose file does not state it."""

from __future__ import annotations

from dataclasses import replace

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import Cutout

_TOLERANCE = 0.01


def at_pixel_scale(cutout: Cutout, pixel_scale_arcsec: float | None) -> Cutout:
    """Return a cutout with the pixel scale given, or unchanged if none is.

    Without one, a picture is taken to have the pixels of its survey, which archives resample.

    Raises
    ------
    CutoutError
        If the scale is not positive, or differs by more than 1% from that of the file's WCS.
    """
    if pixel_scale_arcsec is None:
        return cutout
    if not pixel_scale_arcsec > 0:
        raise CutoutError(f"the pixel scale must be positive but is {pixel_scale_arcsec:g} arcsec")
    stated = cutout.pixel_scale_arcsec
    if not cutout.has_wcs:
        return replace(cutout, pixel_scale_arcsec=float(pixel_scale_arcsec))
    if abs(stated / pixel_scale_arcsec - 1) > _TOLERANCE:
        raise CutoutError(
            f"the WCS of the image says {stated:.4g} arcsec a pixel but {pixel_scale_arcsec:g} is "
            "given; leave the scale out, or correct the header"
        )
    return cutout
