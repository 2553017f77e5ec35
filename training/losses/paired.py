"""Distance between the latents of the same galaxies in two surveys."""

from __future__ import annotations

from torch import Tensor

from training.losses.shapes import check_rows

__all__ = ["paired"]


def paired(target: Tensor, anchor: Tensor, scale: Tensor) -> Tensor:
    """Mean squared difference of paired latents in units of the anchor's variance.

    Parameters
    ----------
    target, anchor : (n, latents) float tensors
        Posterior means of the same galaxies, row by row.
    scale : (latents,) float tensor
        Variance of the anchor's latents over galaxies.

    Returns
    -------
    scalar tensor

    Raises
    ------
    ValueError
        If shapes differ.
    """
    check_rows(target, anchor)
    return ((target - anchor).square() / scale).mean()
