import numpy as np
import pytest
import torch
from conftest import make_space
from numpy.testing import assert_allclose

from benchmarks.pixel_likelihood import (
    Stamps,
    _derivatives,
    _stabilised,
    likelihood_ranks,
    limit_rows,
    marginal_chi2,
)
from catalogs.simulation.observing import moffat_transfer
from galaxy_da.surveys import get_survey

SIDE = 64


def test_the_marginal_chi2_is_that_of_the_dense_covariance():
    rng = np.random.default_rng(0)
    residual, jacobian, prior = rng.normal(size=(5, 30)), rng.normal(size=(3, 30)), [0.5, 1.0, 2.0]
    covariance = np.eye(30) + jacobian.T @ np.diag(np.square(prior)) @ jacobian
    expected = np.einsum("ni,ij,nj->n", residual, np.linalg.inv(covariance), residual)
    found = marginal_chi2(*(torch.tensor(x) for x in (residual, jacobian, prior)))
    assert_allclose(found, expected, rtol=1e-8)


def test_stabilised_differences_have_unit_variance():
    rng = np.random.default_rng(1)
    a, b = torch.tensor([0.5]), torch.tensor([0.2])
    for flux in (1.0, 10.0, 100.0):
        drawn = rng.normal(flux, np.sqrt(0.5 + 0.2 * flux), (1, 1, 100, 1000))
        scaled = _stabilised(torch.tensor(drawn, dtype=torch.float32), a, b)
        assert float(scaled.std()) == pytest.approx(1, rel=0.05)


def test_derivatives_are_those_of_moved_and_brighter_images():
    a, b = torch.tensor([0.5, 0.1]), torch.tensor([0.2, 0.3])
    along = torch.arange(SIDE) - 31.5

    def image(shift=0.0, gain=(1.0, 1.0)):
        shape = torch.exp(-0.5 * ((along - shift)[None] ** 2 + along[:, None] ** 2) / 16)
        return _stabilised(torch.tensor(gain)[:, None, None] * 20 * shape, a, b)

    found = _derivatives(image(), a, b)
    numeric = (image(shift=0.01) - image(shift=-0.01)) / 0.02
    assert_allclose(-found[0], numeric, atol=0.05 * float(numeric.abs().max()))
    brighter = (image(gain=(1.001, 1.0)) - image(gain=(0.999, 1.0))) / 0.002
    assert_allclose(found[2], brighter, atol=0.01 * float(brighter.abs().max()))


def stamps(light, fwhm, sigma, seed):
    """Observe (n, 1, y, x) light with a Moffat PSF and white noise."""
    k = torch.fft.fftfreq(SIDE, 0.524)
    radius = torch.hypot(k[:, None], torch.fft.rfftfreq(SIDE, 0.524))
    n = len(light)
    wide = torch.full((n, 1), fwhm)
    seen = torch.fft.irfft2(torch.fft.rfft2(light) * moffat_transfer(wide[..., None, None], radius))
    noise = torch.randn(light.shape, generator=torch.Generator().manual_seed(seed))
    return Stamps(
        brightness=seen + sigma * noise,
        psf_fwhm_arcsec=wide,
        noise=torch.full((n, 1), sigma),
        sky=torch.tensor([1e3]),
    )


def test_each_galaxy_is_found_through_another_psf_at_another_place():
    rng = torch.Generator().manual_seed(0)
    light = torch.zeros(30, 1, SIDE, SIDE)
    light[..., 24:40, 24:40] = 20 * torch.rand(30, 1, 16, 16, generator=rng)
    pool = stamps(light, 1.2, 0.05, 1)
    queries = stamps(1.03 * light.roll(1, -1), 1.8, 0.05, 2)
    ranks = likelihood_ranks(queries, pool, np.array([1.0]))
    assert (ranks == 1).all()
    noisy = stamps(0.02 * light, 1.8, 5.0, 3)
    chance = likelihood_ranks(noisy, pool, np.array([1.0]))
    assert 5 < np.median(chance) < 26


@pytest.mark.slow
def test_the_limit_is_above_chance_and_falls_with_depth():
    surveys = [get_survey("decals"), get_survey("sdss")]
    rows = limit_rows(make_space(), surveys, pool=96, queries=64)
    assert [row["survey"] for row in rows] == ["decals-repeat", "sdss"]
    again, sdss = (row["limit"] for row in rows)
    assert again > 0.8 and again >= sdss > 0.4
