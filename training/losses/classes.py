"""Latents should tell morphological classes apart, where these are known."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = ["class_error"]


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
