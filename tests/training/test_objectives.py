import numpy as np
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from galaxy_da.models import Posterior
from training.objectives import kl_divergence, negative_elbo


def test_divergence_is_torchs():
    torch.manual_seed(0)
    mean, variance = torch.randn(5, 3), torch.rand(5, 3) + 0.1
    expected = torch_kl(Normal(mean, variance.sqrt()), Normal(0, 1))
    torch.testing.assert_close(kl_divergence(Posterior(mean, variance)), expected)


def test_the_bound_is_the_mean_log_likelihood_minus_the_divergence():
    torch.manual_seed(0)
    images, decoded = torch.randn(4, 2, 3, 3), torch.randn(4, 2, 3, 3)
    posterior, noise = Posterior(torch.randn(4, 5), torch.rand(4, 5) + 0.1), 0.4
    loss, terms = negative_elbo(images, decoded, posterior, noise=noise, beta=1.0)
    log_likelihood = Normal(decoded, noise).log_prob(images).sum((1, 2, 3))
    bound = (log_likelihood - kl_divergence(posterior).sum(1)).mean() / 18
    constant = -0.5 * np.log(2 * np.pi * noise**2)
    torch.testing.assert_close(loss, constant - bound)
    torch.testing.assert_close(terms["kl"], kl_divergence(posterior).sum(1).mean())
