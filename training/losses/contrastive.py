"""Contrastive losses: each galaxy should be nearest to its own second image."""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.shapes import check_rows, squared_distances

__all__ = ["contrast_repeats", "contrastive"]


def contrastive(target: Tensor, anchor: Tensor, temperature: Tensor | float) -> Tensor:
    """Symmetric InfoNCE over true pairs, with negative squared distance as the logit.

    Parameters
    ----------
    target, anchor : (n, latents) float tensors
        Posterior means of the same galaxies, row by row; the other rows are the negatives.
    temperature : float or scalar tensor
        Squared distance that counts as one nat.

    Returns
    -------
    scalar tensor [nat]

    Raises
    ------
    ValueError
        If shapes differ.

    References
    ----------
    van den Oord et al. (2018), arXiv 1807.03748; symmetric as in Radford et al. (2021),
    arXiv 2103.00020.
    """
    check_rows(target, anchor)
    logits = -squared_distances(target, anchor) / temperature
    truth = torch.arange(len(target), device=target.device)
    loss = torch.nn.functional.cross_entropy
    return (loss(logits, truth) + loss(logits.T, truth)) / 2


def contrast_repeats(galaxy: Tensor) -> Tensor:
    """Contrast two observations of each galaxy with those of all other galaxies.

    Parameters
    ----------
    galaxy : (2 n, galaxy latents) float tensor
        Posterior means of the first observations, then of the second ones in the same order.

    Returns
    -------
    scalar tensor [nat]
        Independent of the scale of the latents: the temperature is the median squared distance of
        the pairs.
    """
    first, second = galaxy.chunk(2)
    squared = (first - second).square().sum(1)
    return contrastive(first, second, squared.median().detach().clamp_min(1e-3))
