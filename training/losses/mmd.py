"""Maximum mean discrepancy: a distance between two distributions of latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from training.losses.shapes import check_widths, squared_distances

__all__ = ["Bandwidth", "mmd", "prior_mmd"]

Bandwidth = Literal["anchor", "mean"]


def mmd(
    target: Tensor,
    anchor: Tensor,
    *,
    bandwidth: Bandwidth = "anchor",
    factors: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0),
) -> Tensor:
    """Squared maximum mean discrepancy, mean over Gaussian kernels (biased estimate).

    Parameters
    ----------
    target, anchor : (n, latents) and (m, latents) float tensors
        Posterior means of any galaxies of either survey.
    bandwidth : {"anchor", "mean"}
        Squared distance ``w`` in ``exp(-d^2 / w)``: the mean within the anchor, or the mean over
        different galaxies of both surveys. No gradient passes through it.
    factors : sequence of float
        Multiples of the bandwidth, one kernel each.

    Returns
    -------
    scalar tensor

    Raises
    ------
    ValueError
        If widths differ or the bandwidth is unknown.

    References
    ----------
    Gretton et al. (2012), JMLR 13, 723, equation 5; several kernels as in Long et al. (2015),
    arXiv 1502.02791.
    """
    check_widths(target, anchor)
    if bandwidth not in get_args(Bandwidth):
        raise ValueError(f"{bandwidth!r} is not one of {', '.join(get_args(Bandwidth))}")
    squared = squared_distances(*[torch.cat([target, anchor])] * 2)
    n = len(target)
    width = _bandwidth(squared.detach(), n, bandwidth)
    total = target.new_zeros(())
    for factor in factors:
        values = torch.exp(-squared / (factor * width))
        total = total + values[:n, :n].mean() + values[n:, n:].mean() - 2 * values[:n, n:].mean()
    return total / len(factors)


def prior_mmd(drawn: Tensor) -> Tensor:
    """Squared maximum mean discrepancy between latents and as many draws of the unit Gaussian.

    Parameters
    ----------
    drawn : (n, latents) float tensor
        One draw from each posterior.

    Returns
    -------
    scalar tensor

    References
    ----------
    Zhao, Song & Ermon (2017), InfoVAE, arXiv 1706.02262, equation 6.
    """
    return mmd(drawn, torch.randn_like(drawn))


def _bandwidth(squared: Tensor, n: int, bandwidth: Bandwidth) -> Tensor:
    """Squared distance that sets the scale of the kernels."""
    if bandwidth == "anchor":
        return squared[n:, n:].mean()
    rows, columns = torch.triu_indices(len(squared), len(squared), offset=1)
    return squared[rows, columns].mean()
