"""The divergence of posteriors from the prior: itself, its weight over time, and free bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from galaxy_da.models.networks import Posterior

__all__ = ["Beta", "beta_at", "freed", "kl_divergence"]

Beta = float | tuple[tuple[float, float], ...]
"""A weight, or (epoch, weight) points between which it is linear."""


def kl_divergence(posterior: Posterior) -> Tensor:
    """Divergence of each posterior from the unit Gaussian prior.

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


def freed(divergence: Tensor, free_nats: float) -> Tensor:
    """Total divergence, of which each latent has some for nothing.

    Parameters
    ----------
    divergence : (n, latents) float tensor
        From `kl_divergence`.
    free_nats : float
        Below this mean over the batch a latent is not pushed towards the prior [nat].

    Returns
    -------
    scalar tensor [nat per image]
        ``sum over latents of max(free_nats, mean over images)``.

    References
    ----------
    Kingma et al. (2016), arXiv 1606.04934, equation 15.
    """
    return divergence.mean(0).clamp_min(free_nats).sum()


def beta_at(beta: float | Sequence[Sequence[float]], epoch: float) -> float:
    """Return the weight of the divergence at an epoch.

    Parameters
    ----------
    beta : float or sequence of (epoch, weight)
        See `Beta`; before the first point and after the last it is constant.
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
