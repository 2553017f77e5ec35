"""The evidence lower bound."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from galaxy_da.models.networks import Posterior
from training.losses.kl import freed, kl_divergence
from training.losses.reconstruction import squared_error

__all__ = ["negative_elbo"]


def negative_elbo(
    images: Tensor,
    decoded: Tensor,
    posterior: Posterior,
    *,
    noise: float,
    beta: float,
    free_nats: float = 0.0,
    weight: Tensor | None = None,
    over_all: Callable[[Tensor, Tensor | int], Tensor] = lambda mean, count: mean,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Negative evidence lower bound with a Gaussian pixel likelihood, up to a constant.

    Parameters
    ----------
    images, decoded : (n, bands, y, x) float tensors
        Prepared images, and what the decoder makes of a draw from their posteriors.
    posterior : Posterior
        Mean and variance, (n, latents); of all images where processes share them.
    noise : float
        Standard deviation of a pixel [asinh units], where `weight` does not say.
    beta : float
        Weight of the divergence (Higgins et al. 2017); 1 is the bound itself.
    free_nats : float
        Divergence each latent has for nothing; see `training.losses.freed`.
    weight : (n, bands, y, x) float tensor, optional
        Inverse variance of each pixel.
    over_all : callable
        From the mean over these images' pixels and their number to that over all processes', as
        `training.parallel.processes.Share.mean`.

    Returns
    -------
    loss : scalar tensor
        ``reconstruction / (2 noise^2) + beta * kl / pixels``; with `weight`, half of chi squared
        per pixel instead of the first term.
    terms : dict of scalar tensors
        ``reconstruction`` (mean squared error), ``kl`` (nat per image) and, with `weight`,
        ``chi_squared``.
    """
    reconstruction = over_all(squared_error(images, decoded), len(images))
    divergence = kl_divergence(posterior)
    terms = {"reconstruction": reconstruction, "kl": divergence.sum(1).mean()}
    likelihood = reconstruction / (2 * noise**2)
    if weight is not None:
        chi_squared = squared_error(images, decoded, weight)
        terms["chi_squared"] = over_all(chi_squared, (weight > 0).sum())
        likelihood = terms["chi_squared"] / 2
    paid = freed(divergence, free_nats) if free_nats else terms["kl"]
    return likelihood + beta * paid / images[0].numel(), terms
