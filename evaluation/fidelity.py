"""How near the decoded images are to those that went in, and whether the sky stays at zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.stats import mad_std
from scipy.ndimage import gaussian_filter
from torch import Tensor

from galaxy_da.images.noise import SIGMA_PER_MAD
from galaxy_da.images.preparation import Frame

__all__ = ["SkyResidual", "outside", "per_image", "sky_residuals", "value_range"]

_RANGE_QUANTILES = (0.0005, 0.9995)
_INNER_ARCSEC = 11.0
"""Radius within which the galaxy's own light may be."""
_SMOOTHING_PX, _LIGHT_SIGMA = 2.0, 2.0
_FEWEST_PIXELS, _ARTEFACT_SIGMA = 50, 5.0


@dataclass(frozen=True, kw_only=True)
class SkyResidual:
    """Decoded less observed on empty sky, in one band.

    Attributes
    ----------
    band : str
        Which.
    noise : float
        Scatter of a sky pixel [asinh units].
    residual : float
        Mean over sky pixels, in units of `noise`.
    error : float
        Standard error of `residual` over images; NaN with fewer than two.
    share : float
        Part of all pixels that counts as sky.
    """

    band: str
    noise: float
    residual: float
    error: float
    share: float


def value_range(images: Tensor) -> float:
    """Return the range of all but a thousandth of the pixels, for PSNR and SSIM [asinh units]."""
    low, high = np.quantile(images.numpy(), _RANGE_QUANTILES)
    return float(max(high - low, 1e-6))


def per_image(images: Tensor, decoded: Tensor, span: float) -> tuple[np.ndarray, np.ndarray]:
    """Measure each image alone.

    Parameters
    ----------
    images, decoded : (n, bands, y, x) float tensors
        In asinh units.
    span : float
        Range of values for the PSNR.

    Returns
    -------
    mse, psnr : (n,) float arrays
        [asinh units^2] and [dB].
    """
    squared = (decoded - images).square().mean((1, 2, 3)).clamp_min(1e-12).double().numpy()
    return squared, 10 * np.log10(span**2 / squared)


def outside(frame: Frame) -> np.ndarray:
    """(y, x) bool: pixels farther than 11 arcsec from the middle, beyond the galaxy's own light."""
    along = (np.arange(frame.pixels) - (frame.pixels - 1) / 2) * frame.pixel_scale_arcsec
    return np.asarray(np.hypot(along[:, None], along) > _INNER_ARCSEC)


def sky_residuals(
    images: Tensor, decoded: Tensor, frame: Frame, empty: np.ndarray | None = None
) -> tuple[SkyResidual, ...]:
    """Compare decoded and observed sky, band by band.

    A pixel of a band is empty sky if it was observed, lies farther than 11 arcsec from the middle,
    and is known to be empty. Where nothing is known, no *other* band, smoothed, may show light
    there: noise is independent from band to band, so none of this band's is chosen. Its light is,
    though: pixels that turned out dark hold less than could be expected of them, and a decoder of
    expectations comes out above them (`benchmarks.empty_sky` tells by how much). A single band
    chooses for itself. Beyond 5 times the noise a pixel is then no sky either, but an artefact in
    this band alone.

    Parameters
    ----------
    images, decoded : (n, bands, y, x) float tensors
        In asinh units; exactly zero in `images` where nothing was observed.
    frame : Frame
        Theirs.
    empty : (n, y, x) bool array, optional
        Pixels that are known to be empty in every band.

    Returns
    -------
    tuple of SkyResidual
        One per band that has sky.
    """
    seen = images.numpy()
    residual = decoded.numpy() - seen
    beside = outside(frame)
    if not beside.any():
        return ()
    quiet = _quiet(seen, beside) if empty is None else empty[:, None]
    found = []
    for number, band in enumerate(frame.bands):
        others = np.delete(quiet, number, axis=1) if quiet.shape[1] > 1 else quiet
        sky = beside & others.all(1) & (seen[:, number] != 0)
        pixels = seen[:, number][sky]
        if len(pixels) < _FEWEST_PIXELS:
            continue
        noise = max(float(mad_std(pixels)), 1e-12)
        if empty is None:
            sky &= np.abs(seen[:, number] - np.median(pixels)) < _ARTEFACT_SIGMA * noise
        counts = sky.sum((1, 2))
        of_image = (residual[:, number] * sky).sum((1, 2))[counts > 0] / counts[counts > 0]
        scatter = of_image.std(ddof=1) if len(of_image) > 1 else np.nan
        found.append(
            SkyResidual(
                band=band,
                noise=noise,
                residual=float(residual[:, number][sky].mean(dtype=np.float64) / noise),
                error=float(scatter / noise / np.sqrt(len(of_image))),
                share=float(sky.mean()),
            )
        )
    return tuple(found)


def _quiet(images: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """Whether each pixel of (n, bands, y, x) images shows no light once smoothed."""
    smooth = gaussian_filter(images, (0, 0, _SMOOTHING_PX, _SMOOTHING_PX))
    around = smooth[:, :, beside]
    middle = np.median(around, 2, keepdims=True)
    sigma = SIGMA_PER_MAD * np.median(np.abs(around - middle), 2, keepdims=True)
    return np.asarray(smooth < (middle + _LIGHT_SIGMA * sigma)[..., None])
