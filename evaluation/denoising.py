"""Whether what a target's latents decode to is nearer the deep image than simpler pictures are.

Images are in the frame's asinh units, where PSNR and SSIM are measured over a stated range; flux is
measured in nanomaggies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from astropy.stats import mad_std
from sklearn.decomposition import PCA
from torch import Tensor

from galaxy_da.images.preparation import Frame

__all__ = [
    "SSIM_SIGMA_PX",
    "PixelPCA",
    "aperture_flux",
    "best_gaussian",
    "compare_images",
    "flux_bias",
    "gaussian_filtered",
    "ssim",
]

SSIM_SIGMA_PX = 1.5
APERTURE_ARCSEC = 5.0
"""Radius within which flux is compared [arcsec]."""

_SIGMAS_PX = (0.0, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5)
_TRUNCATE = 3.5  # sigma, as torchmetrics and scikit-image do
_K1, _K2 = 0.01, 0.03
_BATCH = 256
_BOOTSTRAPS = 500


def compare_images(images: Tensor, reference: Tensor, value_range: float) -> dict[str, float]:
    """Measure how near images are to a reference.

    Parameters
    ----------
    images, reference : (n, bands, y, x) float tensors
        In the frame's asinh units.
    value_range : float
        Largest less smallest value that counts [asinh units].

    Returns
    -------
    dict
        ``psnr`` [dB], its mean over images, ``ssim``, likewise, and ``mse`` [asinh units^2].

    Raises
    ------
    ValueError
        If shapes differ or the range is not positive.
    """
    _check(images, reference, value_range)
    squared = (images - reference).square().mean((1, 2, 3)).clamp_min(1e-12)
    psnr = 10 * torch.log10(value_range**2 / squared)
    return {
        "psnr": float(psnr.mean()),
        "ssim": float(ssim(images, reference, value_range).mean()),
        "mse": float(squared.mean()),
    }


def ssim(images: Tensor, reference: Tensor, value_range: float) -> Tensor:
    """Structural similarity with a Gaussian window of 1.5 pixels.

    Parameters
    ----------
    images, reference : (n, bands, y, x) float tensors
        Compared band by band.
    value_range : float
        Largest less smallest value that counts.

    Returns
    -------
    (n,) float tensor
        Mean over bands and over the pixels whose window lies within the image; 1 is equal.

    References
    ----------
    Wang, Bovik, Sheikh & Simoncelli 2004, IEEE TIP 13, 600, equation 13.
    """
    _check(images, reference, value_range)
    c1, c2 = (_K1 * value_range) ** 2, (_K2 * value_range) ** 2
    parts = []
    for a, b in zip(*(torch.split(some, _BATCH) for some in (images, reference)), strict=True):
        mean_a, mean_b = _window(a), _window(b)
        var_a, var_b = _window(a * a) - mean_a**2, _window(b * b) - mean_b**2
        covariance = _window(a * b) - mean_a * mean_b
        above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
        below = (mean_a**2 + mean_b**2 + c1) * (var_a.clamp_min(0) + var_b.clamp_min(0) + c2)
        parts.append((above / below).mean((1, 2, 3)))
    return torch.cat(parts)


def gaussian_filtered(images: Tensor, sigma_px: float, softening: Sequence[float]) -> Tensor:
    """Smooth with a round Gaussian in linear flux.

    Parameters
    ----------
    images : (n, bands, y, x) float tensor
        In asinh units.
    sigma_px : float
        0 changes nothing [pixel].
    softening : sequence of float
        Of the bands [nanomaggy / arcsec^2].
    """
    if sigma_px == 0:
        return images
    soft = images.new_tensor(softening)[:, None, None]
    reach = math.ceil(4 * sigma_px)
    parts = [
        torch.asinh(_separable(torch.sinh(batch) * soft, sigma_px, reach, inner=False) / soft)
        for batch in torch.split(images, _BATCH)
    ]
    return torch.cat(parts)


def best_gaussian(
    images: Tensor, reference: Tensor, softening: Sequence[float], value_range: float
) -> float:
    """Return the width [pixel] of the Gaussian filter that gives the highest mean PSNR.

    Parameters
    ----------
    images, reference : (n, bands, y, x) float tensors
        Validation images, in asinh units.
    softening : sequence of float
        Of the bands of `images` [nanomaggy / arcsec^2].
    value_range : float
        As for `compare_images`.
    """
    scores = {
        sigma: compare_images(gaussian_filtered(images, sigma, softening), reference, value_range)
        for sigma in _SIGMAS_PX
    }
    return max(scores, key=lambda sigma: scores[sigma]["psnr"])


class PixelPCA:
    """Principal components of an anchor's pixels, the linear autoencoder of the same size.

    Parameters
    ----------
    images : (n, bands, y, x) float tensor
        The anchor's, in asinh units.
    components : int
        As many as the space has latents.
    seed : int
        Of the randomised decomposition.
    """

    def __init__(self, images: Tensor, components: int, seed: int = 0) -> None:
        pca = PCA(components, svd_solver="randomized", random_state=seed)
        pca.fit(images.flatten(1).numpy())
        self._mean = torch.from_numpy(pca.mean_).float()
        self._axes = torch.from_numpy(pca.components_).float()

    def rebuild(self, images: Tensor) -> Tensor:
        """Project (n, bands, y, x) images onto the components and back."""
        flat = images.flatten(1) - self._mean
        return (self._mean + flat @ self._axes.T @ self._axes).view_as(images)


def aperture_flux(
    images: Tensor, frame: Frame, radius_arcsec: float = APERTURE_ARCSEC
) -> np.ndarray:
    """Flux within a circle about the middle.

    Parameters
    ----------
    images : (n, bands, y, x) float tensor
        The anchor's bands, in asinh units.
    frame : Frame
        Their frame.
    radius_arcsec : float
        Of the circle [arcsec].

    Returns
    -------
    (n, bands) float64 array [nanomaggy]
    """
    along = (torch.arange(frame.pixels) - (frame.pixels - 1) / 2) * frame.pixel_scale_arcsec
    inside = torch.hypot(along[:, None], along) <= radius_arcsec
    brightness = torch.sinh(images[..., inside].double()).sum(-1)
    return np.asarray(brightness.numpy() * np.array(frame.softening) * frame.pixel_scale_arcsec**2)


def flux_bias(flux: np.ndarray, reference: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Compare fluxes with a reference.

    Parameters
    ----------
    flux, reference : (n,) float arrays
        In equal units; rows whose reference is not positive are left out.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``bias``, the median ratio less one, with its 95% interval ``low`` and ``high``, and
        ``scatter``, 1.4826 times the median absolute deviation of the ratio.
    """
    ratio = flux[reference > 0] / reference[reference > 0]
    rng = np.random.default_rng(seed)
    draws = np.median(ratio[rng.integers(len(ratio), size=(_BOOTSTRAPS, len(ratio)))], axis=1)
    low, high = np.quantile(draws, [0.025, 0.975]) - 1
    middle = np.median(ratio)
    return {
        "bias": float(middle - 1),
        "low": float(low),
        "high": float(high),
        "scatter": float(mad_std(ratio)),
    }


def _check(images: Tensor, reference: Tensor, value_range: float) -> None:
    if images.shape != reference.shape:
        raise ValueError(
            f"images and reference must have one shape but have {tuple(images.shape)} and "
            f"{tuple(reference.shape)}"
        )
    if value_range <= 0:
        raise ValueError(f"value_range must be positive but is {value_range}")


def _window(images: Tensor) -> Tensor:
    """Local mean where the whole window lies within the image."""
    reach = int(_TRUNCATE * SSIM_SIGMA_PX + 0.5)
    return _separable(images, SSIM_SIGMA_PX, reach, inner=True)


def _separable(images: Tensor, sigma: float, reach: int, *, inner: bool) -> Tensor:
    """Convolve with a round Gaussian: the inner part alone, or all, the border continued."""
    rows, columns = (_smoothing(side, sigma, reach, inner) for side in images.shape[-2:])
    return rows.to(images) @ images @ columns.to(images).T


def _smoothing(side: int, sigma: float, reach: int, inner: bool) -> Tensor:
    """Return the (outputs, side) matrix of a Gaussian along one axis."""
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    middle = torch.arange(reach, side - reach) if inner else torch.arange(side)
    taps = (middle[:, None] + torch.arange(-reach, reach + 1)).clamp(0, side - 1)
    matrix = torch.zeros(len(middle), side)
    return matrix.scatter_add_(1, taps, (weights / weights.sum()).expand(len(middle), -1))
