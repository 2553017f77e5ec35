"""Two surveys of the same sky should fill the latent space alike: kernel means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from training.losses.shapes import check_widths, squared_distances

__all__ = ["Bandwidth", "Kernel", "mmd"]

Kernel = Literal["gaussian", "inverse-multiquadric"]
Bandwidth = Literal["anchor", "mean", "median"]


def mmd(
    target: Tensor,
    anchor: Tensor,
    *,
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "anchor",
    factors: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0),
) -> Tensor:
    """Squared maximum mean discrepancy with a mean of kernels (biased estimate).

    Parameters
    ----------
    target : (n, latents) float tensor
        Posterior means of any galaxies of the target survey.
    anchor : (m, latents) float tensor
        Posterior means of any galaxies of the anchor survey.
    kernel : {"gaussian", "inverse-multiquadric"}
        ``exp(-d^2 / w)``, or ``w / (w + d^2)``, whose tails still pull on distant galaxies.
    bandwidth : {"anchor", "mean", "median"}
        Squared distance behind ``w``: the mean within the anchor; or the mean or median over
        different galaxies of both surveys together. No gradient passes through it.
    factors : sequence of float
        Multiples of the bandwidth, one kernel each.

    Returns
    -------
    scalar tensor

    Raises
    ------
    ValueError
        If widths differ or a choice is unknown.

    References
    ----------
    Gretton et al. (2012), JMLR 13, 723, equation 5; several kernels as in Long et al. (2015),
    arXiv 1502.02791; inverse multiquadric as in Tolstikhin et al. (2018), arXiv 1711.01558.
    """
    check_widths(target, anchor)
    for value, choices in ((kernel, get_args(Kernel)), (bandwidth, get_args(Bandwidth))):
        if value not in choices:
            raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
    squared = squared_distances(*[torch.cat([target, anchor])] * 2)
    n = len(target)
    width = _width(squared.detach(), n, bandwidth)
    total = target.new_zeros(())
    for factor in factors:
        w = factor * width
        values = torch.exp(-squared / w) if kernel == "gaussian" else w / (w + squared)
        total = total + values[:n, :n].mean() + values[n:, n:].mean() - 2 * values[:n, n:].mean()
    return total / len(factors)


def _width(squared: Tensor, n: int, bandwidth: Bandwidth) -> Tensor:
    """Squared distance that sets the scale of the kernels."""
    if bandwidth == "anchor":
        return squared[n:, n:].mean()
    rows, columns = torch.triu_indices(len(squared), len(squared), offset=1)
    different = squared[rows, columns]
    return different.mean() if bandwidth == "mean" else different.median()
