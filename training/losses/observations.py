"""Telling what a galaxy is from how it was seen, by two looks at it.

A batch holds the first looks, then the second looks of the same galaxies in the same order: another
night, another angle, perhaps mirrored. What the looks share has to go through the galaxy latents,
since each look is decoded from the other's; what differs is left to the view latents.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.contrastive import contrastive

__all__ = ["exchange", "same_galaxy"]


def exchange(drawn: Tensor, galaxy_latents: int) -> Tensor:
    """Give each look the galaxy latents of the other.

    Parameters
    ----------
    drawn : (2 n, latents) float tensor
        Latents of the first looks, then of the second.
    galaxy_latents : int
        How many of them, the first, hold the galaxy.

    Returns
    -------
    (2 n, latents) float tensor

    References
    ----------
    Like the swapping of codes in Mathieu et al. (2016), arXiv 1611.03383.
    """
    galaxy, view = drawn[:, :galaxy_latents], drawn[:, galaxy_latents:]
    return torch.cat([galaxy.roll(len(drawn) // 2, 0), view], 1)


def same_galaxy(galaxy: Tensor) -> Tensor:
    """Contrast the two looks at each galaxy with the looks at all others.

    Parameters
    ----------
    galaxy : (2 n, galaxy latents) float tensor
        Posterior means of the first looks, then of the second.

    Returns
    -------
    scalar tensor [nat]
        With the median squared distance of the pairs as the temperature, so that neither spreading
        nor shrinking the space changes it.
    """
    first, second = galaxy.chunk(2)
    squared = (first - second).square().sum(1)
    return contrastive(first, second, squared.median().detach().clamp_min(1e-3))
