"""Bias of decoded images on empty sky, relative to the noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.stats import mad_std
from scipy.ndimage import gaussian_filter
from torch import Tensor

from galaxy_da.images.noise import SIGMA_PER_MAD
from galaxy_da.images.preparation import Frame

__all__ = ["SkyResidual", "beyond_galaxy", "sky_residuals"]

_INNER_ARCSEC = 11.0
"""Radius within which light of the galaxy itself is expected."""
_SMOOTHING_PX, _LIGHT_SIGMA = 2.0, 2.0
_FEWEST_PIXELS, _ARTEFACT_SIGMA = 50, 5.0


@dataclass(frozen=True, kw_only=True)
class SkyResidual:
    """Decoded minus observed light on empty sky, in one band."""

    band: str
    noise: float  # scatter of a sky pixel [asinh units]
    residual: float  # mean over sky pixels, in units of the noise
    error: float  # its standard error over images, NaN with fewer than two
    share: float  # of all pixels that counts as sky


def beyond_galaxy(frame: Frame) -> np.ndarray:
    """Mark the pixels farther than 11 arcsec from the centre, as a (y, x) bool array."""
    along = (np.arange(frame.pixels) - (frame.pixels - 1) / 2) * frame.pixel_scale_arcsec
    return np.asarray(np.hypot(along[:, None], along) > _INNER_ARCSEC)


def sky_residuals(
    images: Tensor, decoded: Tensor, frame: Frame, empty: np.ndarray | None = None
) -> tuple[SkyResidual, ...]:
    """Compare decoded and observed sky of (n, bands, y, x) images, for each band that has sky.

    Sky pixels of a band were observed (not exactly zero), lie farther than 11 arcsec from the
    centre, and are empty: `empty` (n, y, x) marks such pixels. Without it, a pixel is empty if
    every *other* band, smoothed, shows no light there. Noise is independent between bands, so this
    choice does not bias the noise of the measured band. It does bias its light: pixels that look
    dark hold less light than average, and a decoder that predicts the mean lies above them.
    `benchmarks.empty_sky` measures by how much. A sample of one band chooses by that band itself.
    Pixels beyond 5 times the noise are then left out as artefacts of one band.
    """
    observed = images.numpy()
    residual = decoded.numpy() - observed
    outskirts = beyond_galaxy(frame)
    if not outskirts.any():
        return ()
    dark = _without_light(observed, outskirts) if empty is None else empty[:, None]
    residuals = []
    for number, band in enumerate(frame.bands):
        others = np.delete(dark, number, axis=1) if dark.shape[1] > 1 else dark
        sky = outskirts & others.all(1) & (observed[:, number] != 0)
        pixels = observed[:, number][sky]
        if len(pixels) < _FEWEST_PIXELS:
            continue
        noise = max(float(mad_std(pixels)), 1e-12)
        if empty is None:
            sky &= np.abs(observed[:, number] - np.median(pixels)) < _ARTEFACT_SIGMA * noise
        counts = sky.sum((1, 2))
        of_image = (residual[:, number] * sky).sum((1, 2))[counts > 0] / counts[counts > 0]
        scatter = of_image.std(ddof=1) if len(of_image) > 1 else np.nan
        residuals.append(
            SkyResidual(
                band=band,
                noise=noise,
                residual=float(residual[:, number][sky].mean(dtype=np.float64) / noise),
                error=float(scatter / noise / np.sqrt(len(of_image))),
                share=float(sky.mean()),
            )
        )
    return tuple(residuals)


def _without_light(images: np.ndarray, outskirts: np.ndarray) -> np.ndarray:
    """Mark pixels of (n, bands, y, x) images that show no light once smoothed."""
    smooth = gaussian_filter(images, (0, 0, _SMOOTHING_PX, _SMOOTHING_PX))
    sky = smooth[:, :, outskirts]
    middle = np.median(sky, 2, keepdims=True)
    sigma = SIGMA_PER_MAD * np.median(np.abs(sky - middle), 2, keepdims=True)
    return np.asarray(smooth < (middle + _LIGHT_SIGMA * sigma)[..., None])
