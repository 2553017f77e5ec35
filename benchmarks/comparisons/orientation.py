"""Canonical orientation: every galaxy turned and mirrored to stand alike, the pose kept beside."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Pose", "canonical"]

_WINDOW = 0.35
"""Sigma of the Gaussian within which light counts, over half the side."""


class Pose(NamedTuple):
    """How a galaxy lay before it was turned.

    Attributes
    ----------
    angle : (n,) float tensor
        Of its long axis, from x towards y [rad], in a half turn.
    mirrored : (n, 2) bool tensor
        Whether it was then mirrored along the long axis and across it.
    """

    angle: Tensor
    mirrored: Tensor


def canonical(images: Tensor) -> tuple[Tensor, Pose]:
    """Turn the long axis of each galaxy along x, and mirror it so that both skews are positive.

    Parameters
    ----------
    images : (n, bands, y, x) float tensor
        Square; the light of all bands together decides.

    Returns
    -------
    turned : (n, bands, y, x) tensor
        By bilinear interpolation; beyond the edge zero.
    pose : Pose

    References
    ----------
    The angle of second moments: Hu (1962), IRE Trans. Inf. Theory 8, 179, equation 62; the skews
    are his way to make it unique.
    """
    light, x, y = _light(images)
    xx, yy, xy = ((light * power).sum((1, 2)) for power in (x * x, y * y, x * y))
    angle = 0.5 * torch.atan2(2 * xy, xx - yy)
    rotated = _rotate(images, angle)
    light, x, y = _light(rotated)
    skew = torch.stack([(light * axis**3).sum((1, 2)) for axis in (x, y)], 1)
    mirrored = skew < 0
    for axis, dimension in ((0, -1), (1, -2)):
        some = mirrored[:, axis]
        rotated[some] = rotated[some].flip(dimension)
    return rotated, Pose(angle, mirrored)


def _light(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Light of each pixel about the middle, windowed, and coordinates from -1 to 1."""
    along = torch.linspace(-1, 1, images.shape[-1])
    y, x = torch.meshgrid(along, along, indexing="ij")
    window = torch.exp(-0.5 * (x**2 + y**2) / _WINDOW**2)
    return images.float().sum(1) * window, x, y


def _rotate(images: Tensor, angle: Tensor) -> Tensor:
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    matrix = torch.stack(
        [torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], dim=1
    )
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=True)
    return functional.grid_sample(images, grid.to(images), align_corners=True)
