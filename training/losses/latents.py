"""Losses on latents: distance of pairs, contrast of galaxies, distance of distributions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def paired(target: Tensor, anchor: Tensor, scale: Tensor) -> Tensor:
    """Mean squared difference of paired (n, latents), in units of the (latents,) `scale`."""
    _check_rows(target, anchor)
    return ((target - anchor).square() / scale).mean()


def contrastive(target: Tensor, anchor: Tensor, temperature: Tensor | float) -> Tensor:
    """Symmetric InfoNCE [nat] of paired (n, latents), the other rows being the negatives.

    The logit is the negative squared distance over the temperature (van den Oord et al. 2018,
    arXiv 1807.03748; symmetric as in Radford et al. 2021, arXiv 2103.00020).
    """
    _check_rows(target, anchor)
    logits = -squared_distances(target, anchor) / temperature
    truth = torch.arange(len(target), device=target.device)
    loss = torch.nn.functional.cross_entropy
    return (loss(logits, truth) + loss(logits.T, truth)) / 2


def mmd(
    target: Tensor,
    anchor: Tensor,
    *,
    bandwidth: Tensor | None = None,
    factors: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0),
) -> Tensor:
    """Squared maximum mean discrepancy of (n, latents) and (m, latents), a biased estimate.

    It is the mean over Gaussian kernels ``exp(-d^2 / (factor * bandwidth))`` (Gretton et al. 2012,
    JMLR 13, 723, equation 5; several kernels as in Long et al. 2015, arXiv 1502.02791). The default
    bandwidth is the mean squared distance within the anchor, through which no gradient passes.
    """
    check_widths(target, anchor)
    squared = squared_distances(*[torch.cat([target, anchor])] * 2)
    n = len(target)
    width = squared.detach()[n:, n:].mean() if bandwidth is None else bandwidth
    total = target.new_zeros(())
    for factor in factors:
        values = torch.exp(-squared / (factor * width))
        total = total + values[:n, :n].mean() + values[n:, n:].mean() - 2 * values[:n, n:].mean()
    return total / len(factors)


def dependence(latents: Tensor, conditions: Tensor) -> Tensor:
    """Dependence of (n, latents) on (n, k) conditions, 0 if they are independent, at most 1.

    It is the Hilbert-Schmidt criterion of Gaussian kernels (Gretton et al. 2005, Algorithmic
    Learning Theory, 63), over that of each with itself. The kernels are as wide as the mean squared
    distance.
    """
    first, second = (_centred_kernel(values) for values in (latents, conditions))
    scale = (first.square().sum() * second.square().sum()).clamp_min(1e-12).sqrt()
    return (first * second).sum() / scale


def _centred_kernel(values: Tensor) -> Tensor:
    squared = squared_distances(values, values)
    kernel = torch.exp(-squared / squared.detach().mean().clamp_min(1e-12))
    return kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()


def prior_mmd(drawn: Tensor) -> Tensor:
    """`mmd` of (n, latents) draws and the prior (InfoVAE: Zhao et al. 2017, arXiv 1706.02262)."""
    return mmd(drawn, torch.randn_like(drawn))


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(n, m) squared Euclidean distances, exact where points coincide."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()


def check_widths(target: Tensor, anchor: Tensor) -> None:
    """Raise ValueError unless both are rows of equally many latents."""
    if target.ndim != 2 or anchor.ndim != 2 or target.shape[1] != anchor.shape[1]:
        raise ValueError(
            f"target and anchor must be rows of the same latents but have shapes "
            f"{tuple(target.shape)} and {tuple(anchor.shape)}"
        )


def _check_rows(target: Tensor, anchor: Tensor) -> None:
    if target.shape != anchor.shape:
        raise ValueError(
            f"target and anchor must pair row by row but have shapes {tuple(target.shape)} and "
            f"{tuple(anchor.shape)}"
        )
