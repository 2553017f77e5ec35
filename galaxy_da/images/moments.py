"""Shapes of galaxies by adaptive moments (Bernstein & Jarvis 2002, AJ 123, 583)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

_ITERATIONS = 16
_MOST = 60.0  # quadratic form beyond which a weight counts as the same
_TINY = 1e-12


def adaptive_shape(image: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return axis ratio and position angle [deg, north through east] about the middle, both (n,).

    `image` is (n, y, x), and `start` (n,) the first width of the weights [pixel]. The weights are
    even about the middle, so half of the pixels, each with the one across it, are enough.
    """
    n, side = image.shape[0], image.shape[-1]
    squares, products = _products(side)
    folded = _folded(image)
    xx, yy, xy = start**2, start**2, torch.zeros(n)
    for _ in range(_ITERATIONS):
        determinant = (xx * yy - xy**2).clamp_min(1e-3)
        form = torch.stack([yy, xx, -2 * xy], 1) / (-2 * determinant[:, None])
        x, y = form[:, :1] * squares, form[:, 1:2] * squares[: (side + 1) // 2]
        weight = (y[:, :, None] + x[:, None]).flatten(1)[:, : products.shape[1]]
        weight.addcmul_(form[:, 2:], products[2]).clamp_(-0.5 * _MOST, 0).exp_()
        sums = weight.mul_(folded) @ products.T
        norm = sums[:, 3].clamp_min(_TINY)
        moments = 2 * sums[:, :3] / norm[:, None]
        good = (
            (sums[:, 3] > 0)
            & (moments[:, 0] > 0.3)
            & (moments[:, 1] > 0.3)
            & (moments[:, 0] * moments[:, 1] > moments[:, 2] ** 2)
            & (moments[:, :2].amax(1) < (side / 3) ** 2)
        )
        xx, yy, xy = (
            torch.where(good, new, old)
            for new, old in zip(moments.unbind(1), (xx, yy, xy), strict=True)
        )
    spread = torch.sqrt((yy - xx) ** 2 + 4 * xy**2)
    low, high = (xx + yy - spread) / 2, (xx + yy + spread) / 2
    ratio = torch.sqrt((low / high.clamp_min(_TINY)).clamp(0, 1))
    return ratio, torch.rad2deg(0.5 * torch.atan2(-2 * xy, yy - xx)) % 180  # east is to the left


def _folded(image: Tensor) -> Tensor:
    """Return the first half of the pixels, each plus the one across the middle, (n, half)."""
    flat = image.flatten(1)
    pixels = flat.shape[1]
    half = (pixels + 1) // 2
    folded = flat[:, :half] + flat[:, pixels - half :].flip(1)
    if pixels % 2:  # the pixel in the middle was added to itself
        folded[:, -1] /= 2
    return folded


@lru_cache(maxsize=8)
def _products(side: int) -> tuple[Tensor, Tensor]:
    """Return x^2 of a row, (side,), and x^2, y^2, x y and 1 of the first half, (4, half)."""
    ramp = torch.arange(side) - (side - 1) / 2
    y, x = torch.meshgrid(ramp, ramp, indexing="ij")
    table = torch.stack([x * x, y * y, x * y, torch.ones_like(x)]).flatten(1)
    return ramp**2, table[:, : (side**2 + 1) // 2].contiguous()
