"""Terms of the adaptation loss. Each is a mean, so that weights mean the same at any batch size."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["contrastive", "mmd", "paired"]

_KERNEL_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def paired(target: Tensor, anchor: Tensor, scale: Tensor) -> Tensor:
    """Mean squared difference of paired latents in units of the anchor's variance.

    Parameters
    ----------
    target, anchor : (n, latents) float tensors
        Posterior means of the same galaxies, row by row.
    scale : (latents,) float tensor
        Variance of the anchor's latents.

    Returns
    -------
    scalar tensor
    """
    _check_rows(target, anchor)
    return ((target - anchor).square() / scale).mean()


def contrastive(target: Tensor, anchor: Tensor, temperature: Tensor | float) -> Tensor:
    """Symmetric InfoNCE over true pairs, with negative squared distance as the logit.

    Parameters
    ----------
    target, anchor : (n, latents) float tensors
        Posterior means of the same galaxies, row by row; the other rows are the negatives.
    temperature : float or scalar tensor
        Squared distance that counts as one nat.

    Returns
    -------
    scalar tensor [nat]

    References
    ----------
    van den Oord et al. (2018), arXiv 1807.03748; symmetric as in Radford et al. (2021).
    """
    _check_rows(target, anchor)
    squared = torch.cdist(target, anchor, compute_mode="donot_use_mm_for_euclid_dist").square()
    logits = -squared / temperature
    truth = torch.arange(len(target), device=target.device)
    loss = torch.nn.functional.cross_entropy
    return (loss(logits, truth) + loss(logits.T, truth)) / 2


def mmd(target: Tensor, anchor: Tensor) -> Tensor:
    """Squared maximum mean discrepancy with a sum of Gaussian kernels (biased estimate).

    Parameters
    ----------
    target : (n, latents) float tensor
        Posterior means of any galaxies of the target survey.
    anchor : (m, latents) float tensor
        Posterior means of any galaxies of the anchor survey.

    Returns
    -------
    scalar tensor
        Kernel widths are multiples of the mean squared distance within the anchor.

    References
    ----------
    Gretton et al. (2012), JMLR 13, 723, equation 5.
    """
    within_anchor = torch.cdist(anchor, anchor).square()
    within_target = torch.cdist(target, target).square()
    between = torch.cdist(target, anchor).square()
    width = within_anchor.detach().mean()
    total = target.new_zeros(())
    for factor in _KERNEL_WIDTHS:
        kernel = [
            torch.exp(-squared / (factor * width)).mean()
            for squared in (within_target, within_anchor, between)
        ]
        total = total + kernel[0] + kernel[1] - 2 * kernel[2]
    return total / len(_KERNEL_WIDTHS)


def _check_rows(target: Tensor, anchor: Tensor) -> None:
    if target.shape != anchor.shape:
        raise ValueError(
            f"target and anchor must pair row by row but have shapes {tuple(target.shape)} and "
            f"{tuple(anchor.shape)}"
        )
