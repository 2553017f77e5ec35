"""All latents together should fill the prior, whatever each posterior looks like."""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.mmd import mmd

__all__ = ["prior_mmd"]


def prior_mmd(drawn: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of latents from draws of the unit Gaussian.

    Parameters
    ----------
    drawn : (n, latents) float tensor
        One draw from each posterior.

    Returns
    -------
    scalar tensor
        Against as many draws of the prior, with `training.losses.mmd`'s Gaussian kernels about
        the mean squared distance within the prior.

    References
    ----------
    Zhao, Song & Ermon (2017), InfoVAE, arXiv 1706.02262, equation 6.
    """
    return mmd(drawn, torch.randn_like(drawn))
