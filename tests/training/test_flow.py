import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from training.flow import fit_flow, frechet_distance


def ring(n, seed):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    radius = rng.normal(2, 0.1, n)
    points = np.stack([radius * np.cos(angle), 3 + radius * np.sin(angle)], 1)
    return torch.from_numpy(points).float()


def test_draws_follow_a_density_that_is_no_gaussian():
    flow = fit_flow(ring(2000, 0), steps=400)
    drawn = flow.sample(1000, seed=1)
    radius = (drawn - torch.tensor([0.0, 3.0])).norm(dim=1)
    assert float(((radius > 1.5) & (radius < 2.5)).float().mean()) > 0.85
    assert torch.equal(drawn, flow.sample(1000, seed=1))
    held = ring(500, 5)
    gaussian = torch.distributions.MultivariateNormal(held.mean(0), held.T.cov())
    assert float(flow.log_density(held).mean()) > float(gaussian.log_prob(held).mean()) + 0.5


def test_the_density_integrates_to_one():
    flow = fit_flow(ring(500, 0), steps=100)
    along = torch.linspace(-8, 8, 321)
    points = torch.cartesian_prod(along, along + 3)
    total = flow.log_density(points).exp().sum() * 0.05**2
    assert float(total) == pytest.approx(1, abs=0.03)


def test_frechet_distance_is_that_of_matrix_roots():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 4)), rng.normal(1, 2, size=(400, 4)) @ rng.normal(size=(4, 4))
    first, second = np.cov(a.T), np.cov(b.T)
    root = sqrtm(first @ second).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_too_few_latents_are_refused():
    with pytest.raises(ValueError, match="at least 20 latent vectors but got 3"):
        fit_flow(torch.zeros(3, 2))
