"""Sinkhorn divergence: debiased entropic optimal transport between two sets of latents."""

from __future__ import annotations

import math

import torch
from ot.bregman import sinkhorn_log
from torch import Tensor

from training.losses.latents import check_widths, squared_distances

_TOLERANCE = 1e-4
"""Marginal error of the plan at which iterations stop, about what float32 can reach."""
_ITERATIONS = 2000


def sinkhorn_divergence(target: Tensor, anchor: Tensor, blur: float) -> Tensor:
    """Return the Sinkhorn divergence of two sets of latents.

    Parameters
    ----------
    target, anchor : (n, latents) and (m, latents) float tensors
        Posterior means of any galaxies.
    blur : float
        Distance below which detail is ignored; the regularisation is its square. The cost is half
        the squared distance.

    Returns
    -------
    scalar tensor
        Gradients flow through the cost at the optimal plan (envelope theorem). A blur below about
        a fiftieth of the extent of the sets may not converge; POT then warns.

    Raises
    ------
    ValueError
        If widths differ or blur is not positive.

    References
    ----------
    Feydy et al. (2019), arXiv 1810.08278, equation 3; Cuturi (2013), arXiv 1306.0895.
    """
    check_widths(target, anchor)
    if not blur > 0:
        raise ValueError(f"blur must be a positive distance but is {blur}")
    return (
        _transport(target, anchor, blur**2)
        - _transport(target, target, blur**2) / 2
        - _transport(anchor, anchor, blur**2) / 2
    )


def _transport(x: Tensor, y: Tensor, regularisation: float) -> Tensor:
    """Cost plus regularisation times the plan's divergence from independence."""
    cost = squared_distances(x, y) / 2
    n, m = cost.shape
    with torch.no_grad():
        plan, log = sinkhorn_log(
            cost.new_full((n,), 1 / n),
            cost.new_full((m,), 1 / m),
            cost,
            regularisation,
            numItermax=_ITERATIONS,
            stopThr=_TOLERANCE,
            log=True,
        )
        potentials = log["log_u"][:, None] + log["log_v"][None, :] - cost / regularisation
        divergence = (plan * (potentials + math.log(n * m))).sum()
    total: Tensor = (plan * cost).sum() + regularisation * divergence
    return total
