"""Noise from the median absolute deviation, which sources in the image hardly move."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SIGMA_PER_MAD", "mad_std"]

SIGMA_PER_MAD = 1.482602218505602
"""Standard deviation of a normal distribution over its median absolute deviation."""


def mad_std(values: Tensor) -> Tensor:
    """Robust standard deviation along the last axis, as `astropy.stats.mad_std` of arrays.

    Parameters
    ----------
    values : (..., n) float tensor
        Of an even `n` the lower of the two middle values counts as the median, as in torch.

    Returns
    -------
    (...) float tensor
        In the units of `values`.
    """
    middle = values.median(-1, keepdim=True).values
    return SIGMA_PER_MAD * (values - middle).abs().median(-1).values
