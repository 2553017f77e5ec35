import numpy as np
import pytest
import torch
from conftest import make_space
from numpy.testing import assert_allclose

from benchmarks.pixel_likelihood import Spectra, gauss_newton, likelihood_ranks, limit_rows
from catalogs.simulation.observing import moffat_transfer
from galaxy_da.surveys import get_survey

PIXEL = 0.3


def test_a_step_goes_to_the_least_squares_of_all_data():
    rng = np.random.default_rng(0)
    residual, jacobian = rng.normal(size=(5, 30)), rng.normal(size=(5, 3, 30))
    prior = np.array([0.5, 1.0, 2.0])
    steps = gauss_newton(*(torch.tensor(x) for x in (residual, jacobian, np.zeros((5, 3)), prior)))
    for step, seen, slopes in zip(steps, residual, jacobian, strict=True):
        rows = np.vstack([slopes.T, np.diag(1 / prior)])  # the prior is data too
        least = np.linalg.lstsq(rows, -np.append(seen, np.zeros(3)), rcond=None)[0]
        assert_allclose(step, least, rtol=1e-8)


def observe(light, fwhm, sigma, seed, side=116):
    """Observe (n, 1, y, x) light with a Moffat PSF and white noise."""
    k = torch.fft.fftfreq(side, PIXEL)
    radius = torch.hypot(k[:, None], torch.fft.rfftfreq(side, PIXEL))
    width = torch.full((len(light), 1), fwhm)
    seen = torch.fft.irfft2(
        torch.fft.rfft2(light) * moffat_transfer(width[..., None, None], radius), s=(side, side)
    )
    noise = torch.randn(light.shape, generator=torch.Generator().manual_seed(seed))
    return Spectra.of(
        seen + sigma * noise, PIXEL, width, torch.full_like(width, sigma), torch.tensor([1e5])
    )


def blobs(n):
    rng = torch.Generator().manual_seed(0)
    light = torch.zeros(n, 1, 116, 116)
    light[..., 42:74, 42:74] = 5 * torch.rand(n, 1, 32, 32, generator=rng)
    return light


def test_the_noise_of_a_value_is_its_variance():
    spectra = observe(torch.zeros(200, 1, 116, 116), 1.0, 0.3, 1)
    measured = spectra.values.abs().square().mean((0, 2, 3))
    assert_allclose(measured, spectra.noise.mean(0), rtol=0.02)


def test_each_galaxy_is_found_through_another_psf_at_another_place():
    light = blobs(30)
    pool = observe(light, 1.2, 0.05, 1)
    queries = observe(1.03 * light.roll(1, -1), 1.8, 0.05, 2)
    assert (likelihood_ranks(queries, pool, np.array([1.0])) == 1).all()
    noisy = observe(0.01 * light, 1.8, 5.0, 3)
    chance = likelihood_ranks(noisy, pool, np.array([1.0]))
    assert 5 < np.median(chance) < 26


@pytest.mark.slow
def test_the_limit_is_above_chance_and_falls_with_depth():
    surveys = [get_survey("decals"), get_survey("sdss")]
    rows = limit_rows(make_space(), surveys, pool=96, queries=64)
    assert [row["survey"] for row in rows] == ["decals-repeat", "sdss"]
    again, sdss = (row["limit"] for row in rows)
    assert again > 0.8 and again >= sdss > 0.4
