import numpy as np
import ot
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.special import logsumexp

from benchmarks.baselines.sinkhorn import sinkhorn_divergence


def points(n, d=3, seed=0, shift=0.0):
    return torch.tensor(np.random.default_rng(seed).normal(shift, 1, (n, d)))


def dual_optimum(x, y, e):
    """Entropic transport by maximising its concave semi-dual with a general optimiser."""
    cost = ((x[:, None] - y[None]) ** 2).sum(2) / 2

    def negative(g):
        f = -e * (logsumexp((g - cost) / e, axis=1) - np.log(len(y)))
        return -(f.mean() + g.mean())

    return -minimize(negative, np.zeros(len(y)), method="BFGS", options={"gtol": 1e-9}).fun


def test_it_equals_the_dual_optimum():
    target, anchor, blur = points(5, seed=1, shift=0.7), points(6, seed=2), 0.6
    x, y, e = target.numpy(), anchor.numpy(), 0.6**2
    expected = dual_optimum(x, y, e) - dual_optimum(x, x, e) / 2 - dual_optimum(y, y, e) / 2
    assert_allclose(sinkhorn_divergence(target, anchor, blur), expected, rtol=1e-3)


def test_a_small_blur_is_exact_transport():
    target, anchor = points(30, seed=1, shift=2), points(30, seed=2)
    cost = ot.dist(target.numpy(), anchor.numpy()) / 2
    expected = ot.emd2(np.full(30, 1 / 30), np.full(30, 1 / 30), cost)
    assert_allclose(sinkhorn_divergence(target, anchor, 0.2), expected, rtol=0.01)


def test_a_large_blur_compares_means():
    target, anchor = points(30, seed=1, shift=1), points(40, seed=2)
    expected = (target.mean(0) - anchor.mean(0)).square().sum() / 2
    assert_allclose(sinkhorn_divergence(target, anchor, 100.0), expected, rtol=1e-2)


def test_a_shift_costs_half_its_square_and_pulls_back():
    anchor = points(50, seed=1)
    target = (anchor + 0.5).clone().requires_grad_(True)
    loss = sinkhorn_divergence(target, anchor, 0.3)
    assert_allclose(loss.detach(), 3 * 0.5**2 / 2, rtol=1e-3)
    loss.backward()
    assert_allclose(target.grad, np.full((50, 3), 0.5 / 50), rtol=0.05, atol=1e-4)


def test_the_gradient_equals_finite_differences():
    anchor, target = points(6, seed=2), points(5, seed=1, shift=0.7).requires_grad_(True)
    sinkhorn_divergence(target, anchor, 1.0).backward()
    step = torch.zeros(5, 3, dtype=torch.float64)
    step[2, 1] = 0.05
    with torch.no_grad():
        prefetch, behind = (sinkhorn_divergence(target + s, anchor, 1.0) for s in (step, -step))
    assert_allclose(target.grad[2, 1], (prefetch - behind) / 0.1, rtol=5e-3)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4, 6\)"):
        sinkhorn_divergence(torch.zeros(4, 5), torch.zeros(4, 6), 1.0)
    with pytest.raises(ValueError, match="blur must be a positive distance but is 0"):
        sinkhorn_divergence(points(4), points(4), 0)
