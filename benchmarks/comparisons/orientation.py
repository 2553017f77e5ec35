"""Bring galaxies into a canonical orientation and return their pose."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Pose", "canonical"]

_WINDOW = 0.35
"""Sigma of the Gaussian weight of the light, over half the side."""


class Pose(NamedTuple):
    """Orientation of galaxies before `canonical`.

    Attributes
    ----------
    angle : (n,) float tensor
        Angle of the long axis from x towards y, modulo pi [rad].
    mirrored : (n, 2) bool tensor
        True if then mirrored along the long axis and across it.
    """

    angle: Tensor
    mirrored: Tensor


def canonical(images: Tensor) -> tuple[Tensor, Pose]:
    """Rotate the long axis of each galaxy to x, and mirror it so that both skews are positive.

    Parameters
    ----------
    images : (n, bands, y, x) float tensor
        Square images; the summed light of all bands defines the orientation.

    Returns
    -------
    oriented : (n, bands, y, x) tensor
        Bilinearly interpolated images, zero beyond the edge.
    pose : Pose

    References
    ----------
    Hu (1962), IRE Trans. Inf. Theory 8, 179: equation 62 for the angle of second moments, and the
    skews that make it unique.
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
    """Return weighted light of each pixel, and coordinates from -1 to 1."""
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
