"""The same galaxy in two surveys should have the same latents."""

from __future__ import annotations

from torch import Tensor

from galaxy_da.models.networks import Posterior
from training.losses.shapes import check_rows

__all__ = ["paired", "paired_kl", "paired_wasserstein"]


def paired(target: Tensor, anchor: Tensor, scale: Tensor) -> Tensor:
    """Mean squared difference of paired latents in units of the anchor's variance.

    Parameters
    ----------
    target, anchor : (n, latents) float tensors
        Posterior means of the same galaxies, row by row.
    scale : (latents,) float tensor
        Variance of the anchor's latents over galaxies.

    Returns
    -------
    scalar tensor

    Raises
    ------
    ValueError
        If shapes differ.
    """
    check_rows(target, anchor)
    return ((target - anchor).square() / scale).mean()


def paired_kl(target: Posterior, anchor: Posterior) -> Tensor:
    """Mean Kullback-Leibler divergence of the target's posterior from the anchor's.

    The expectation is over the anchor's posterior, so the best target variance is the anchor's plus
    the squared difference of the means: an honest one.

    Parameters
    ----------
    target, anchor : Posterior
        Diagonal Gaussians of the same galaxies, row by row, (n, latents).

    Returns
    -------
    scalar tensor [nat per latent]

    Raises
    ------
    ValueError
        If shapes differ.

    References
    ----------
    Kullback & Leibler (1951), Ann. Math. Statist. 22, 79; closed form in Kingma & Welling (2014),
    appendix B.
    """
    check_rows(target.mean, anchor.mean)
    ratio = anchor.variance / target.variance
    offset = (anchor.mean - target.mean).square() / target.variance
    return 0.5 * (ratio + offset - 1 - ratio.log()).mean()


def paired_wasserstein(target: Posterior, anchor: Posterior, scale: Tensor) -> Tensor:
    """Mean squared 2-Wasserstein distance of paired posteriors in units of the anchor's variance.

    Unlike the divergence it stays finite, and its gradient useful, where a variance goes to zero.

    Parameters
    ----------
    target, anchor : Posterior
        Diagonal Gaussians of the same galaxies, row by row, (n, latents).
    scale : (latents,) float tensor
        Variance of the anchor's latents over galaxies.

    Returns
    -------
    scalar tensor

    Raises
    ------
    ValueError
        If shapes differ.

    References
    ----------
    Dowson & Landau (1982), J. Multivariate Anal. 12, 450, for covariances that commute.
    """
    check_rows(target.mean, anchor.mean)
    spread = (target.variance.sqrt() - anchor.variance.sqrt()).square()
    return (((target.mean - anchor.mean).square() + spread) / scale).mean()
