"""Losses against known classes and redshifts; unknown values do not count."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["class_error", "redshift_error"]


def class_error(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of a linear classifier on the latents.

    Parameters
    ----------
    scores : (n, classes) float tensor
        Logarithms of probabilities, up to a constant.
    labels : (n,) int tensor
        Class numbers; -1 where unknown.

    Returns
    -------
    scalar tensor [nat]
        Mean over the labelled images; 0 where there is none.

    References
    ----------
    Kingma et al. (2014), arXiv 1406.5298, equation 9: the classifier's term beside the bound.
    """
    total = functional.cross_entropy(scores.float(), labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp_min(1)


def redshift_error(predicted: Tensor, redshift: Tensor) -> Tensor:
    """Mean squared error over the images with known redshift.

    Parameters
    ----------
    predicted, redshift : (n,) float tensors
        In equal units; NaN where unknown.

    Returns
    -------
    scalar tensor
        0 where no redshift is known.
    """
    known = torch.isfinite(redshift)
    error = torch.where(known, predicted - redshift.nan_to_num(), 0.0)
    return error.square().sum() / known.sum().clamp_min(1)
