"""Gaussian stars on the frame's pixels, shared by the tests of PSF matching."""

import math

import numpy as np
import torch

SCALE = 0.524
SIGMA = 1 / math.sqrt(8 * math.log(2))
GRID = np.arange(64) - 31.5


def star(fwhm_arcsec, peak=20.0):
    """A Gaussian star on the frame's pixels, unit flux times a peak factor."""
    sigma = fwhm_arcsec * SIGMA / SCALE
    profile = np.exp(-0.5 * (GRID[:, None] ** 2 + GRID[None, :] ** 2) / sigma**2)
    return torch.tensor(peak * profile / (2 * math.pi * sigma**2), dtype=torch.float32)


def variance(image):
    """Second moment along an axis [pixel^2]."""
    weight = image.double().numpy()
    return float((weight.sum(0) * GRID**2).sum() / weight.sum())


def match_of(
    kind, fwhm_from, fwhm_to, noise_from=1e-6, noise_to=1e-6, softening=0.1, softening_to=None
):
    """Return a PSF and noise match of a class, with fixed random numbers."""
    sigma2 = ((fwhm_to * SIGMA) ** 2 - (fwhm_from * SIGMA) ** 2) / SCALE**2
    one = lambda value: torch.tensor([value])  # noqa: E731
    found = kind(
        source=torch.tensor([0]), variance_px2=one(sigma2),
        softening_from=one(softening), softening_to=one(softening_to or softening),
        noise_from=one(noise_from), noise_to=one(noise_to),
    )  # fmt: skip
    return lambda images: found(images, torch.Generator().manual_seed(1))
