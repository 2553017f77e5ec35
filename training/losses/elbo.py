"""Evidence lower bound of a variational autoencoder, and the weight of its divergence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from galaxy_da.models.networks import Posterior

__all__ = ["Beta", "beta_at", "kl_divergence", "negative_elbo"]

Beta = float | tuple[tuple[float, float], ...]
"""Weight of the divergence, or (epoch, weight) points with linear interpolation between them."""


def negative_elbo(
    images: Tensor,
    decoded: Tensor,
    posterior: Posterior,
    *,
    noise: float,
    beta: float,
    over_processes: Callable[[Tensor, Tensor | int], Tensor] = lambda mean, count: mean,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Negative evidence lower bound with a Gaussian pixel likelihood, up to a constant.

    Parameters
    ----------
    images, decoded : (n, bands, y, x) float tensors
        Prepared images, and images decoded from one draw of each posterior.
    posterior : Posterior
        Mean and variance, (n, latents); of the images of all processes.
    noise : float
        Standard deviation of a pixel [asinh units].
    beta : float
        Weight of the divergence (Higgins et al. 2017); 1 gives the bound itself.
    over_processes : callable
        Function of the mean over these images and of their number. Returns the mean over all
        processes; see `training.parallel.processes.Share.mean`.

    Returns
    -------
    loss : scalar tensor
        ``reconstruction / (2 noise^2) + beta * kl / pixels``.
    terms : dict of scalar tensors
        ``reconstruction`` (mean squared error) and ``kl`` (nat per image).
    """
    squared = (decoded - images).square()
    reconstruction = over_processes(squared.mean(), len(images))
    divergence = kl_divergence(posterior).sum(1).mean()
    loss = reconstruction / (2 * noise**2) + beta * divergence / images[0].numel()
    return loss, {"reconstruction": reconstruction, "kl": divergence}


def kl_divergence(posterior: Posterior) -> Tensor:
    """Kullback-Leibler divergence of each posterior from the unit Gaussian prior.

    Parameters
    ----------
    posterior : Posterior
        Mean and variance, (n, latents).

    Returns
    -------
    (n, latents) tensor [nat]

    References
    ----------
    Kingma & Welling (2014), Auto-Encoding Variational Bayes, appendix B.
    """
    mean, variance = posterior
    return 0.5 * (mean.square() + variance - variance.log() - 1)


def beta_at(beta: float | Sequence[Sequence[float]], epoch: float) -> float:
    """Return the weight of the divergence at an epoch.

    Parameters
    ----------
    beta : float or sequence of (epoch, weight)
        Constant before the first point and after the last; see `Beta`.
    epoch : float
        Epochs done; fractions count.

    References
    ----------
    Weight: Higgins et al. (2017), beta-VAE, ICLR; schedule: Bowman et al. (2016), arXiv 1511.06349.
    """
    if isinstance(beta, float | int):
        return float(beta)
    epochs, weights = np.asarray(beta, dtype=float).T
    return float(np.interp(epoch, epochs, weights))
