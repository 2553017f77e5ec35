"""How far decoded images are from the images, every pixel alike or by its noise."""

from __future__ import annotations

import torch
from torch import Tensor

from galaxy_da.images.noise import mad_std

__all__ = ["inverse_variance", "squared_error"]

_BORDER = 8
"""The sky is measured in a border of this fraction of the side."""


def squared_error(images: Tensor, decoded: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error, or its weighted mean.

    Parameters
    ----------
    images, decoded : (n, bands, y, x) float tensors
        What was seen, and what was decoded.
    weight : (n, bands, y, x) float tensor, optional
        Inverse variances; zero masks a pixel.

    Returns
    -------
    scalar tensor
        ``mean(error^2)``, or ``sum(weight error^2) / (pixels with weight)``, which for inverse
        variances is chi squared per pixel.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    for name, other in (("decoded", decoded), ("weight", weight)):
        if other is not None and other.shape != images.shape:
            raise ValueError(
                f"{name} must have the images' shape {tuple(images.shape)} but has "
                f"{tuple(other.shape)}"
            )
    squared = (decoded - images).square()
    if weight is None:
        return squared.mean()
    return (weight * squared).sum() / (weight > 0).sum().clamp_min(1)


def inverse_variance(images: Tensor, floor: float) -> Tensor:
    """Inverse variance of each pixel, from the sky noise of its own image.

    Noise that is even in flux shrinks as ``1 / cosh(x)`` in asinh units, where `x` is the pixel.

    Parameters
    ----------
    images : (n, bands, y, x) float tensor
        asinh of surface brightness over softening; zero where nothing was observed.
    floor : float
        Standard deviation of what no network can draw, added in quadrature [asinh units].

    Returns
    -------
    (n, bands, y, x) float tensor [1 / asinh units^2]
        ``1 / (floor^2 + sky^2 / cosh^2 x)``, with `sky` from the median absolute deviation of the
        border of each image and band; 0 where nothing was observed.
    """
    width = max(images.shape[-1] // _BORDER, 1)
    inside = torch.zeros(images.shape[-2:], dtype=torch.bool, device=images.device)
    inside[width:-width, width:-width] = True
    sky = mad_std(images[..., ~inside])
    variance = floor**2 + (sky[..., None, None] / torch.cosh(images)).square()
    return torch.where(images == 0, 0.0, 1 / variance)
