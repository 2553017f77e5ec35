"""Evidence lower bound of a variational autoencoder, and the weight of its divergence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from galaxy_da.models.networks import Posterior

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

    `images` and `decoded` are (n, bands, y, x); `noise` is the standard deviation of a pixel [asinh
    units]; `beta` weights the divergence (Higgins et al. 2017), 1 gives the bound itself;
    `over_processes` joins means of all processes. Returns ``reconstruction / (2 noise^2) + beta *
    kl / pixels``, and its terms ``reconstruction`` (mean squared error) and ``kl`` (nat per image).
    """
    squared = (decoded - images).square()
    reconstruction = over_processes(squared.mean(), len(images))
    divergence = kl_divergence(posterior).sum(1).mean()
    loss = reconstruction / (2 * noise**2) + beta * divergence / images[0].numel()
    return loss, {"reconstruction": reconstruction, "kl": divergence}


def kl_divergence(posterior: Posterior) -> Tensor:
    """(n, latents) divergences from the prior [nat] (Kingma & Welling 2014, appendix B)."""
    mean, variance = posterior
    return 0.5 * (mean.square() + variance - variance.log() - 1)


def beta_at(beta: float | Sequence[Sequence[float]], epoch: float) -> float:
    """Return the weight of the divergence at an epoch (Bowman et al. 2016, arXiv 1511.06349).

    A schedule is constant before its first point and after its last; fractions of epochs count.
    """
    if isinstance(beta, float | int):
        return float(beta)
    epochs, weights = np.asarray(beta, dtype=float).T
    return float(np.interp(epoch, epochs, weights))
