"""Pretraining objectives. Every term is a mean over images, divided by the pixels of one image."""

from __future__ import annotations

from torch import Tensor

from galaxy_da.models import Posterior

__all__ = ["kl_divergence", "negative_elbo"]


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


def negative_elbo(
    images: Tensor, decoded: Tensor, posterior: Posterior, *, noise: float, beta: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Negative evidence lower bound with a Gaussian pixel likelihood, up to a constant.

    Parameters
    ----------
    images, decoded : (n, bands, y, x) float tensors
        Prepared images, and what the decoder makes of a draw from their posteriors.
    posterior : Posterior
        Mean and variance, (n, latents).
    noise : float
        Standard deviation of a pixel [asinh units].
    beta : float
        Weight of the divergence (Higgins et al. 2017); 1 is the bound itself.

    Returns
    -------
    loss : scalar tensor
        ``reconstruction / (2 noise^2) + beta * kl / pixels``.
    terms : dict of scalar tensors
        ``reconstruction`` (mean squared error) and ``kl`` (nat per image).
    """
    reconstruction = (decoded - images).square().mean()
    kl = kl_divergence(posterior).sum(1).mean()
    loss = reconstruction / (2 * noise**2) + beta * kl / images[0].numel()
    return loss, {"reconstruction": reconstruction, "kl": kl}
