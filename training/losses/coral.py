"""Two surveys of the same sky should fill the latent space alike: covariances."""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.shapes import check_widths

__all__ = ["coral"]


def coral(target: Tensor, anchor: Tensor) -> Tensor:
    """Squared difference of the two surveys' latent covariances, over ``4 latents^2``.

    Parameters
    ----------
    target, anchor : (n, latents) and (m, latents) float tensors
        Posterior means of any galaxies, at least two of each survey.

    Returns
    -------
    scalar tensor
        Blind to a shift of the mean; pair it with a term that is not.

    Raises
    ------
    ValueError
        If widths differ.

    References
    ----------
    Sun & Saenko (2016), Deep CORAL, arXiv 1607.01719, equation 1.
    """
    check_widths(target, anchor)
    difference = torch.cov(anchor.T) - torch.cov(target.T)
    return difference.square().sum() / (4 * target.shape[1] ** 2)
