"""Losses against known classes and values; unknown ones do not count."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def class_error(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy [nat] of (n, classes) scores over the (n,) labels that are not -1.

    It is the term beside the bound in equation 9 of Kingma et al. (2014), arXiv 1406.5298.
    """
    total = functional.cross_entropy(scores.float(), labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp_min(1)


def known_error(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error over the true values that are not NaN."""
    known = torch.isfinite(truth)
    error = torch.where(known, predicted - truth.nan_to_num(), 0.0)
    return error.square().sum() / known.sum().clamp_min(1)
