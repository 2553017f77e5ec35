"""Compare decoded images and simple denoisers with the deep image: PSNR, SSIM, flux.

Images are in the frame's asinh units. PSNR and SSIM are relative to a stated range of values; flux
is in nanomaggies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from astropy.stats import mad_std
from scipy.ndimage import gaussian_filter
from sklearn.decomposition import PCA
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from galaxy_da.images.preparation import Frame

__all__ = [
    "SSIM_SIGMA_PX",
    "aperture_flux",
    "best_gaussian_sigma",
    "compare_images",
    "flux_bias",
    "gaussian_filtered",
    "mse_and_psnr",
    "pca_reconstruction",
    "ssim",
    "value_range",
]

SSIM_SIGMA_PX = 1.5
"""Width of the window of `ssim` [pixel]."""

APERTURE_ARCSEC = 5.0
"""Radius of the aperture in which flux is compared [arcsec]."""

_RANGE_QUANTILES = (0.0005, 0.9995)
_SIGMAS_PX = (0.0, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5)
_EDGE_PX = 5  # half the window, which torchmetrics truncates at 3.5 sigma
_BATCH = 256
_BOOTSTRAPS = 500


def value_range(images: Tensor) -> float:
    """Return the range of all but a thousandth of the pixels, for PSNR and SSIM [asinh units]."""
    low, high = np.quantile(images.numpy(), _RANGE_QUANTILES)
    return float(max(high - low, 1e-6))


def mse_and_psnr(
    images: Tensor, reference: Tensor, value_range: float
) -> tuple[np.ndarray, np.ndarray]:
    """Measure each image alone.

    Parameters
    ----------
    images, reference : (n, bands, y, x) float tensors
        In the frame's asinh units.
    value_range : float
        Difference of the largest and the smallest value that count [asinh units].

    Returns
    -------
    mse, psnr : (n,) float arrays
        [asinh units^2] and [dB].

    Raises
    ------
    ValueError
        If shapes differ or the range is not positive.
    """
    _check(images, reference, value_range)
    squared = (images - reference).square().mean((1, 2, 3)).clamp_min(1e-12).double().numpy()
    return squared, 10 * np.log10(value_range**2 / squared)


def compare_images(images: Tensor, reference: Tensor, value_range: float) -> dict[str, float]:
    """Measure the mean ``psnr`` [dB], ``ssim`` and ``mse`` [asinh units^2] of images.

    Parameters and errors are those of `mse_and_psnr`.
    """
    mse, psnr = mse_and_psnr(images, reference, value_range)
    return {
        "psnr": float(psnr.mean()),
        "ssim": float(ssim(images, reference, value_range).mean()),
        "mse": float(mse.mean()),
    }


def ssim(images: Tensor, reference: Tensor, value_range: float) -> Tensor:
    """Structural similarity with a Gaussian window of 1.5 pixels.

    Parameters and errors are those of `mse_and_psnr`.

    Returns
    -------
    (n,) float tensor
        Mean over bands and over the pixels whose window lies within the image; 1 is equal.

    References
    ----------
    Wang, Bovik, Sheikh & Simoncelli 2004, IEEE TIP 13, 600, equation 13.
    """
    _check(images, reference, value_range)
    parts = []
    for batch, other in zip(
        torch.split(images, _BATCH), torch.split(reference, _BATCH), strict=True
    ):
        _, maps = structural_similarity_index_measure(
            batch, other, sigma=SSIM_SIGMA_PX, data_range=value_range, return_full_image=True
        )
        parts.append(maps[..., _EDGE_PX:-_EDGE_PX, _EDGE_PX:-_EDGE_PX].mean((1, 2, 3)))
    return torch.cat(parts)


def gaussian_filtered(images: Tensor, sigma_px: float, softening: Sequence[float]) -> Tensor:
    """Smooth with a round Gaussian in linear flux; the border pixels are repeated outside.

    Parameters
    ----------
    images : (n, bands, y, x) float tensor
        In asinh units.
    sigma_px : float
        Width of the Gaussian; 0 changes nothing [pixel].
    softening : sequence of float
        Softening of the bands [nanomaggy / arcsec^2].
    """
    if sigma_px == 0:
        return images
    soft = images.new_tensor(softening)[:, None, None]
    linear = (torch.sinh(images) * soft).numpy()
    smooth = gaussian_filter(linear, sigma_px, axes=(2, 3), mode="nearest")
    return torch.asinh(torch.from_numpy(smooth) / soft)


def best_gaussian_sigma(
    images: Tensor, reference: Tensor, softening: Sequence[float], value_range: float
) -> float:
    """Return the width [pixel] of the Gaussian filter that gives the highest mean PSNR.

    Parameters
    ----------
    images, reference : (n, bands, y, x) float tensors
        Validation images, in asinh units.
    softening : sequence of float
        Softening of the bands of `images` [nanomaggy / arcsec^2].
    value_range : float
        As for `mse_and_psnr`.
    """

    def mean_psnr(sigma_px: float) -> float:
        smooth = gaussian_filtered(images, sigma_px, softening)
        return float(mse_and_psnr(smooth, reference, value_range)[1].mean())

    return max(_SIGMAS_PX, key=mean_psnr)


def pca_reconstruction(training: Tensor, images: Tensor, components: int, seed: int = 0) -> Tensor:
    """Project images onto principal components of other images, and back.

    This is the linear autoencoder with as many latents as there are components.

    Parameters
    ----------
    training : (k, bands, y, x) float tensor
        Images that give the components.
    images : (n, bands, y, x) float tensor
        Images to reconstruct.
    components : int
        Number of components.
    seed : int
        Seed of the randomised decomposition.

    Returns
    -------
    (n, bands, y, x) float32 tensor
    """
    pca = PCA(components, svd_solver="randomized", random_state=seed)
    pca.fit(training.flatten(1).numpy())
    rebuilt = pca.inverse_transform(pca.transform(images.flatten(1).numpy()))
    return torch.from_numpy(rebuilt).float().view_as(images)


def aperture_flux(
    images: Tensor, frame: Frame, radius_arcsec: float = APERTURE_ARCSEC
) -> np.ndarray:
    """Measure the flux within a circle about the centre.

    Parameters
    ----------
    images : (n, bands, y, x) float tensor
        The anchor's bands, in asinh units.
    frame : Frame
        Frame of the images.
    radius_arcsec : float
        Radius of the circle [arcsec].

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
        Seed of the bootstrap.

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
    return {
        "bias": float(np.median(ratio) - 1),
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
