import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from galaxy_da.models.networks import Posterior
from training.losses import (
    beta_at,
    class_error,
    kl_divergence,
    known_error,
    negative_elbo,
    prior_mmd,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def posterior(n, latents):
    return Posterior(draw(n, latents), torch.rand(n, latents) + 0.1)


def test_divergence_equals_torch():
    mean, variance = posterior(5, 3)
    expected = torch_kl(Normal(mean, variance.sqrt()), Normal(0, 1))
    torch.testing.assert_close(kl_divergence(Posterior(mean, variance)), expected)


def test_the_bound_is_the_mean_log_likelihood_minus_the_divergence():
    images, decoded = draw(4, 2, 3, 3), draw(4, 2, 3, 3, seed=1)
    some, noise = posterior(4, 5), 0.4
    loss, terms = negative_elbo(images, decoded, some, noise=noise, beta=1.0)
    log_likelihood = Normal(decoded, noise).log_prob(images).sum((1, 2, 3))
    bound = (log_likelihood - kl_divergence(some).sum(1)).mean() / 18
    constant = -0.5 * np.log(2 * np.pi * noise**2)
    torch.testing.assert_close(loss, constant - bound)
    torch.testing.assert_close(terms["kl"], kl_divergence(some).sum(1).mean())


def test_beta_is_constant_or_linear_between_points():
    assert beta_at(0.3, 7) == 0.3
    points = ((0, 0.0), (10, 1.0))
    assert [beta_at(points, epoch) for epoch in (0, 2.5, 10, 99)] == [0.0, 0.25, 1.0, 1.0]


def test_prior_mmd_is_large_for_a_collapsed_or_shifted_posterior():
    torch.manual_seed(0)
    like = float(prior_mmd(draw(512, 8)))
    narrow, shifted = float(prior_mmd(0.1 * draw(512, 8))), float(prior_mmd(draw(512, 8) + 1))
    assert like < 0.005 < 0.05 < min(narrow, shifted)


def test_prior_mmd_is_the_sum_over_all_pairs():
    drawn = draw(6, 2)
    torch.manual_seed(3)
    prior = torch.randn(6, 2).double().numpy()
    torch.manual_seed(3)
    value = float(prior_mmd(drawn))
    x = drawn.double().numpy()
    width = np.mean([((a - b) ** 2).sum() for a in prior for b in prior])

    def kernel(a, b):
        square = ((a - b) ** 2).sum()
        return np.mean([np.exp(-square / (f * width)) for f in (0.25, 0.5, 1, 2, 4)])

    def mean(first, second):
        return np.mean([kernel(a, b) for a in first for b in second])

    assert value == pytest.approx(
        mean(x, x) + mean(prior, prior) - 2 * mean(x, prior), rel=1e-4, abs=1e-6
    )


def test_class_error_is_the_log_loss_of_labelled_images():
    scores, labels = draw(6, 3), torch.tensor([0, 2, -1, 1, -1, 2])
    known = labels >= 0
    expected = log_loss(labels[known], scores[known].double().softmax(1), labels=[0, 1, 2])
    assert float(class_error(scores, labels)) == pytest.approx(expected, rel=1e-5)
    assert float(class_error(scores, torch.full((6,), -1))) == 0.0


def test_known_error_ignores_unknown_redshifts():
    predicted = torch.tensor([0.1, 0.5, 0.9], requires_grad=True)
    error = known_error(predicted, torch.tensor([0.2, torch.nan, 0.6]))
    assert float(error.detach()) == pytest.approx((0.01 + 0.09) / 2)
    error.backward()
    assert torch.isfinite(predicted.grad).all() and predicted.grad[1] == 0
