import numpy as np
import torch
from numpy.testing import assert_allclose

from galaxy_da.images.instrument import (
    PER_BAND,
    PER_CUTOUT,
    describe,
    image_noise,
    sky_noise,
    without_bands,
)

FWHM = 2 * np.sqrt(2 * np.log(2))


def described(missing=()):
    """Describe five instruments with random numbers; some of their bands are missing."""
    draw = torch.Generator().manual_seed(0)
    fwhm, depth, noise, ratio = (torch.rand(5, 3, generator=draw) + 0.5 for _ in range(4))
    for row, band in missing:
        fwhm[row, band] = torch.nan
    return describe(fwhm, depth, noise, ratio, torch.full((5,), 0.4), torch.arange(5) == 2)


def test_numbers_by_numpy():
    values = torch.tensor([[1.48, 0.6]]), torch.tensor([[0.02, 0.3]]), torch.tensor([[0.0, 0.6]])
    found = describe(
        *values, torch.tensor([[1.0, 0.9]]), torch.tensor([0.262]), torch.tensor([True])
    )
    expected = [
        *(1, np.log(1.48 / 1.2) / 0.35, np.log(0.02 / 0.3) / 1.2, np.log(1e-4 / 0.3) / 1.2, 0),
        *(1, np.log(0.6 / 1.2) / 0.35, 0, np.log(2) / 1.2, np.log(0.9) / 0.2),
        *(np.log(0.262 / 0.3) / 0.4, 1),
    ]
    assert found.shape == (1, 2 * PER_BAND + PER_CUTOUT) and found.dtype == torch.float32
    assert_allclose(found[0], expected, atol=1e-5)


def test_losing_a_band_is_not_having_it():
    gone = [(0, 1), (3, 0), (3, 2)]
    missing = torch.zeros(5, 3, dtype=torch.bool)
    missing[tuple(zip(*gone, strict=True))] = True
    assert torch.equal(without_bands(described(), missing), described(gone))


def test_a_point_source_of_the_depth_is_a_five_sigma_detection():
    """Fit the flux of a star in images with that noise, pixel by pixel."""
    depth, fwhm, pixel = 23.4, 1.5, 0.3
    sigma = float(sky_noise(torch.tensor(depth), torch.tensor(fwhm), pixel)) * pixel**2
    axis = (np.arange(61) - 30) * pixel
    star = np.exp(-0.5 * (axis**2 + axis[:, None] ** 2) / (fwhm / FWHM) ** 2)
    star /= star.sum()
    flux = 10 ** (-0.4 * (depth - 22.5))
    images = flux * star + np.random.default_rng(0).normal(0, sigma, (4000, 61, 61))
    fitted = (images * star).sum((1, 2)) / (star**2).sum()
    assert_allclose(fitted.mean(), flux, rtol=0.02)
    assert_allclose(fitted.mean() / fitted.std(), 5, rtol=0.04)


def noisy_galaxies(sigma, n=24, side=64, scale=1.5):
    """Asinh images with a bright galaxy in the middle, over a softening of 1."""
    draw = np.random.default_rng(1)
    axis = np.arange(side) - (side - 1) / 2
    radius = np.hypot(axis, axis[:, None])
    galaxy = 300 * np.exp(-radius / scale)
    images = galaxy + draw.normal(0, 1, (n, 3, side, side)) * np.array(sigma)[:, None, None]
    return torch.from_numpy(np.arcsinh(images)).float()


def test_noise_under_a_bright_galaxy_is_that_of_the_sky():
    """The quiet quarter of the blocks lies 8% below the mean of all."""
    sigma, n = [0.02, 0.1, 0.3], 24
    found = image_noise(noisy_galaxies(sigma), torch.ones(n, 64, 64))
    assert_allclose(found.mean(0), 0.92 * np.array(sigma), rtol=0.04)
    assert (found.std(0) / found.mean(0) < 0.05).all()


def test_noise_of_a_galaxy_that_fills_the_frame_is_that_of_the_sky():
    found = image_noise(noisy_galaxies([0.3] * 3, scale=5), torch.ones(24, 64, 64))
    assert_allclose(found.mean(0), [0.92 * 0.3] * 3, rtol=0.1)


def test_pixels_without_data_do_not_make_an_image_quiet():
    images, covered = noisy_galaxies([0.1] * 3), torch.ones(24, 64, 64)
    whole = image_noise(images, covered).mean(0)
    images[..., :30], covered[..., :30] = 0, 0
    assert_allclose(image_noise(images, covered).mean(0), whole, rtol=0.06)
    assert (image_noise(images, torch.zeros(24, 64, 64)) == 0).all()
