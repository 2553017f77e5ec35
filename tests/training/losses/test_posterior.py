import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from ot.gaussian import bures_wasserstein_distance
from scipy.integrate import quad
from scipy.stats import norm

from galaxy_da.models.networks import Posterior
from training.losses import paired, paired_kl, paired_wasserstein


def points(n, d=4, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=(n, d)))


def posterior(n, d=4, seed=0):
    variance = np.random.default_rng(seed + 100).uniform(0.2, 2, (n, d))
    return Posterior(points(n, d, seed), torch.tensor(variance))


def test_paired_by_hand():
    target, anchor, scale = points(5, seed=1), points(5, seed=2), torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = np.mean([
        (float(target[i, j]) - float(anchor[i, j])) ** 2 / float(scale[j])
        for i in range(5) for j in range(4)
    ])  # fmt: skip
    assert_allclose(paired(target, anchor, scale), expected)


def test_divergence_equals_its_integral():
    target, anchor = posterior(1, 2, seed=1), posterior(1, 2, seed=2)

    def integrand(x, j):
        p, q = (
            norm(float(side.mean[0, j]), float(side.variance[0, j]) ** 0.5)
            for side in (anchor, target)
        )
        return p.pdf(x) * (p.logpdf(x) - q.logpdf(x))

    expected = np.mean([quad(integrand, -12, 12, args=(j,))[0] for j in range(2)])
    assert_allclose(paired_kl(target, anchor), expected, rtol=1e-6)


def test_divergence_equals_torch():
    target, anchor = posterior(6, seed=3), posterior(6, seed=4)
    p, q = (torch.distributions.Normal(s.mean, s.variance.sqrt()) for s in (anchor, target))
    assert_allclose(
        paired_kl(target, anchor), torch.distributions.kl_divergence(p, q).mean(), rtol=1e-9
    )


def test_the_best_variance_is_an_honest_one():
    """The anchor's variance plus the squared difference of the means."""
    anchor, mean = posterior(1, seed=1), points(1, seed=5)
    log_variance = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_variance], max_iter=200, line_search_fn="strong_wolfe")

    def step():
        optimiser.zero_grad()
        loss = paired_kl(Posterior(mean, log_variance.exp()), anchor)
        loss.backward()
        return loss

    optimiser.step(step)
    expected = anchor.variance + (mean - anchor.mean).square()
    assert_allclose(log_variance.exp().detach(), expected, rtol=1e-3)


def test_wasserstein_equals_pot():
    target, anchor = posterior(3, seed=1), posterior(3, seed=2)
    expected = [
        bures_wasserstein_distance(
            target.mean[i].numpy(), anchor.mean[i].numpy(),
            np.diag(target.variance[i].numpy()), np.diag(anchor.variance[i].numpy()),
        ) ** 2 / 4
        for i in range(3)
    ]  # fmt: skip
    unit = torch.ones(4, dtype=torch.float64)
    assert_allclose(paired_wasserstein(target, anchor, unit), np.mean(expected), rtol=1e-6)
    assert_allclose(paired_wasserstein(target, anchor, 2 * unit), np.mean(expected) / 2, rtol=1e-6)


def test_equal_variances_leave_the_paired_term():
    target, anchor, scale = posterior(5, seed=1), posterior(5, seed=2), torch.rand(4) + 0.5
    same = Posterior(target.mean, anchor.variance)
    expected = paired(target.mean, anchor.mean, scale)
    assert_allclose(paired_wasserstein(same, anchor, scale), expected)


@pytest.mark.parametrize(
    "term",
    [
        lambda a, b: paired(a.mean, b.mean, torch.ones(4)),
        paired_kl,
        lambda a, b: paired_wasserstein(a, b, torch.ones(4)),
    ],
)
def test_unpaired_rows_are_refused(term):
    with pytest.raises(ValueError, match=r"pair row by row .*\(4, 4\) and \(5, 4\)"):
        term(posterior(4), posterior(5))
