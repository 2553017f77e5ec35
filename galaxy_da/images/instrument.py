"""Describe the instrument behind each prepared image in numbers, on which networks are conditioned.

For each band of the frame there are five numbers, all zero but the first if the band is missing:

==========  ====================================================================================
present     1, or -1 if the survey has no band for this plane
PSF         logarithm of the full width at half maximum
depth       logarithm of the sky noise per pixel of the frame that the depth implies
noise       logarithm of the noise that the image itself shows
wavelength  logarithm of the band's effective wavelength over the frame's
==========  ====================================================================================

Two more describe the cutout: the logarithm of its pixel scale, and 1 if it is a colour picture.
All are scaled to about unit spread over the surveys of the last decades.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from galaxy_da.images.hyperbolic import sinh

PER_BAND, PER_CUTOUT = 5, 2
"""Numbers for each band of the frame, and for each cutout."""

_GAUSSIAN_FWHM = 2 * math.sqrt(2 * math.log(2))  # over sigma
_BLOCK = 8  # side of the blocks whose noise is measured [pixel]
_QUIET_SHARE = 0.25  # quantile of the blocks that lies in the background
_FEWEST_COVERED = 0.9  # share of a block's pixels with data
_LEAST_NOISE = 1e-4  # asinh units
_WAVELENGTH_SCALE = 0.2
_LARGEST_ASINH = 30.0  # brightest pixel that counts; brighter ones would overflow
_LARGEST_LINEAR = math.sinh(_LARGEST_ASINH)


def describe(
    psf_fwhm_arcsec: Tensor,
    depth_noise: Tensor,
    noise: Tensor,
    wavelength_ratio: Tensor,
    pixel_scale_arcsec: Tensor,
    picture: Tensor,
) -> Tensor:
    """Return the numbers that describe n instruments, (n, 5 bands + 2) float32.

    Parameters
    ----------
    psf_fwhm_arcsec : (n, bands) tensor
        Width of the PSF, NaN for a missing band.
    depth_noise, noise : (n, bands) tensor
        `sky_noise` by the depth, and `image_noise`, over the frame's softening.
    wavelength_ratio : (n, bands) tensor
        Effective wavelength over the frame's.
    pixel_scale_arcsec : (n,) tensor
        Side of the cutout's pixel.
    picture : (n,) bool tensor
        True for a colour picture.
    """
    present = torch.isfinite(psf_fwhm_arcsec)
    columns = torch.stack(
        [
            (psf_fwhm_arcsec / 1.2).log() / 0.35,
            _scaled_noise(depth_noise),
            _scaled_noise(noise),
            wavelength_ratio.log() / _WAVELENGTH_SCALE,
        ],
        dim=-1,
    )
    columns = torch.where(present[..., None], columns, 0.0)
    bands = torch.cat([present[..., None] * 2.0 - 1, columns], -1).flatten(1)
    cutout = torch.stack([(pixel_scale_arcsec / 0.3).log() / 0.4, picture * 2.0 - 1], -1)
    return torch.cat([bands, cutout], 1).float()


def _scaled_noise(noise: Tensor) -> Tensor:
    return (noise.clamp_min(_LEAST_NOISE) / 0.3).log() / 1.2


def wavelength_ratio(conditions: Tensor, bands: int) -> Tensor:
    """Return the wavelength of each band over the frame's, (n, bands); 1 where it is unknown."""
    if not conditions.shape[1]:
        return torch.ones(len(conditions), bands)
    own = conditions[:, : bands * PER_BAND].reshape(len(conditions), bands, PER_BAND)
    return (own[..., 4] * _WAVELENGTH_SCALE).exp()


def with_noise(conditions: Tensor, noise: Tensor) -> Tensor:
    """Return conditions of images that show another noise, (n, bands) as `image_noise`."""
    n, bands = noise.shape
    own = conditions[:, : bands * PER_BAND].reshape(n, bands, PER_BAND).clone()
    own[..., 3] = torch.where(own[..., 0] > 0, _scaled_noise(noise), own[..., 3])
    return torch.cat([own.flatten(1), conditions[:, bands * PER_BAND :]], 1)


def without_bands(conditions: Tensor, missing: Tensor) -> Tensor:
    """Return conditions of instruments that lack some bands, (n, bands) bool."""
    n, bands = missing.shape
    own = conditions[:, : bands * PER_BAND].reshape(n, bands, PER_BAND)
    absent = torch.zeros_like(own)
    absent[..., 0] = -1
    own = torch.where(missing[..., None], absent, own)
    return torch.cat([own.flatten(1), conditions[:, bands * PER_BAND :]], 1)


def sky_noise(depth_mag: Tensor, psf_fwhm_arcsec: Tensor, pixel_arcsec: float) -> Tensor:
    """Return the noise at which a point source is a 5σ detection [nanomaggy / arcsec^2].

    It is that of a pixel of a given side. The noise-equivalent area of a Gaussian PSF is 4π σ²
    (King 1983, PASP 95, 163).
    """
    flux = 10 ** (0.4 * (22.5 - depth_mag)) / 5
    return flux / (math.sqrt(4 * math.pi) * psf_fwhm_arcsec / _GAUSSIAN_FWHM * pixel_arcsec)


def image_noise(images: Tensor, covered: Tensor) -> Tensor:
    """Measure the background noise of prepared images, over the frame's softening.

    The noise is that of the quiet quarter of 8 x 8 pixel blocks, where each pixel is compared with
    the mean of its four neighbours, so that smooth light does not count.

    Parameters
    ----------
    images : (n, bands, y, x) tensor
        asinh of surface brightness over softening.
    covered : (n, y, x) tensor
        1 in pixels with data.

    Returns
    -------
    (n, bands) tensor
        Zero where no block has data.
    """
    return linear_noise(sinh(images.clamp(-_LARGEST_ASINH, _LARGEST_ASINH)), covered)


def linear_noise(images: Tensor, covered: Tensor) -> Tensor:
    """Measure the noise as `image_noise` does, of surface brightness over softening."""
    linear = images.clamp(-_LARGEST_LINEAR, _LARGEST_LINEAR)
    around = linear[..., :-2, 1:-1] + linear[..., 2:, 1:-1]
    around.add_(linear[..., 1:-1, :-2]).add_(linear[..., 1:-1, 2:])
    rough = torch.add(linear[..., 1:-1, 1:-1], around, alpha=-0.25).abs_()
    rough = torch.nn.functional.avg_pool2d(rough, _BLOCK)
    data = torch.nn.functional.avg_pool2d(covered[:, None, 1:-1, 1:-1], _BLOCK)
    blocks = torch.where(data > _FEWEST_COVERED, rough, math.inf).flatten(2).sort(-1).values
    usable = torch.isfinite(blocks).sum(-1, keepdim=True)
    quiet = blocks.gather(-1, (usable * _QUIET_SHARE).long().clamp_max(blocks.shape[-1] - 1))
    # E|d| of a Gaussian is sqrt(2 / pi) sigma; a pixel less the mean of four has variance 5/4.
    sigma = quiet[..., 0] * math.sqrt(math.pi / 2 / 1.25)
    return torch.where(usable[..., 0] > 0, sigma, 0.0)
