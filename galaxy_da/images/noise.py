"""Noise from the median absolute deviation, which is robust against sources in the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SIGMA_PER_MAD = 1.482602218505602
"""Standard deviation of a normal distribution over its median absolute deviation."""


def mad_std(values: Tensor) -> Tensor:
    """Return the robust standard deviation along the last axis.

    It is `astropy.stats.mad_std` for tensors, but the median of an even number of values is the
    lower of the two middle ones, as in torch.
    """
    middle = values.median(-1, keepdim=True).values
    return SIGMA_PER_MAD * (values - middle).abs().median(-1).values
