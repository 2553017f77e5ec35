"""A redshift that is read off the image should be the true one."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["redshift_error"]


def redshift_error(predicted: Tensor, redshift: Tensor) -> Tensor:
    """Mean squared error over the images whose redshift is known.

    Parameters
    ----------
    predicted, redshift : (n,) float tensors
        In equal units; NaN where unknown.

    Returns
    -------
    scalar tensor
        0 where none is known.
    """
    known = torch.isfinite(redshift)
    error = torch.where(known, predicted - redshift.nan_to_num(), 0.0)
    return error.square().sum() / known.sum().clamp_min(1)
