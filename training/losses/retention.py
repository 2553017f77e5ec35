"""A survey that a network already reads must not move when the network learns another."""

from __future__ import annotations

from torch import Tensor

from galaxy_da.models.networks import Posterior
from training.losses.posterior import paired_kl

__all__ = ["retention"]


def retention(current: Posterior, frozen: Posterior) -> Tensor:
    """Mean divergence of posteriors from what they were before training.

    Parameters
    ----------
    current : Posterior
        Of images of an earlier survey, by the network in training, (n, latents).
    frozen : Posterior
        Of the same images, by the network as it was; no gradient passes to it.

    Returns
    -------
    scalar tensor [nat per latent]
        Zero only if neither means nor variances moved.

    Raises
    ------
    ValueError
        If shapes differ.

    References
    ----------
    Li & Hoiem (2018), Learning without Forgetting, arXiv 1606.09282, for Gaussian outputs.
    """
    return paired_kl(current, Posterior(frozen.mean.detach(), frozen.variance.detach()))
