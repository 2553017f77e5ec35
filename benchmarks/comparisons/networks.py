"""Networks to compare: ours, that of Xu et al. (2023), depthwise blocks, strided convolutions.

All read 64 px and have the same number of latents. An encoder takes 13 to 16 million multiply-adds,
except that of Xu et al. The first two are networks of the core; the others are defined here only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from galaxy_da.models.networks import Architecture
from training.pretraining.learner import Learner

__all__ = ["NETWORKS", "depthwise", "ours", "strided", "xu2023"]

_STRIDED = (32, 64, 128, 128)
_BLOCKS = 2


def ours(architecture: Architecture) -> Learner:
    """Build the core's own network: patch stem and residual blocks."""
    return Learner(architecture)


def xu2023(widths: tuple[int, ...]) -> Callable[[Architecture], Learner]:
    """Return a builder of `galaxy_da.models.xu2023` with blocks of these widths."""

    def build(architecture: Architecture) -> Learner:
        changes = {"kind": "galaxy-vae", "widths": widths, "blocks": ()}
        return Learner(architecture.model_copy(update=changes))

    return build


def depthwise(architecture: Architecture) -> Learner:
    """Build our stem and stages with two ConvNeXt blocks instead of each residual block.

    References
    ----------
    Liu et al. (2022), A ConvNet for the 2020s, arXiv 2201.03545, section 2.
    """
    a, learner = architecture, Learner(architecture)
    widths = a.widths
    down: list[nn.Module] = [nn.Conv2d(a.bands, widths[0], a.patch, a.patch), *_stage(widths[0])]
    for before, width in pairwise(widths):
        down += [nn.Conv2d(before, width, 2, 2), *_stage(width)]
    up: list[nn.Module] = _stage(widths[-1])
    for before, width in pairwise(widths[::-1]):
        up += [nn.ConvTranspose2d(before, width, 2, 2), *_stage(width)]
    learner.encoder.body = nn.Sequential(*down, *_flat(a))
    learner.decoder.body = nn.Sequential(*up, *_last(widths[0], a))
    return learner


def strided(architecture: Architecture) -> Learner:
    """Build four convolutions of stride two, and their mirror image as decoder."""
    a, learner = architecture, Learner(architecture)
    down: list[nn.Module] = []
    for before, width in pairwise((a.bands, *_STRIDED)):
        down += [nn.Conv2d(before, width, 3, 2, 1), nn.GELU()]
    up: list[nn.Module] = []
    for before, width in pairwise(_STRIDED[::-1]):
        up += [nn.ConvTranspose2d(before, width, 4, 2, 1), nn.GELU()]
    up.append(nn.ConvTranspose2d(_STRIDED[0], a.bands, 4, 2, 1))
    learner.encoder.body = nn.Sequential(*down, *_flat(a))
    learner.decoder.body = nn.Sequential(*up)
    return learner


NETWORKS: dict[str, Callable[[Architecture], Learner]] = {
    "ours": ours,
    "xu2023-two-blocks": xu2023((64, 128)),
    "depthwise": depthwise,
    "strided": strided,
    "xu2023": xu2023((32, 64, 128)),
}
"""Builders by name. At 64 px the three blocks of Xu et al. end in one pixel; two blocks keep the
4 x 4 x 128 map that three have at the published 256 px."""


class _Depthwise(nn.Module):
    """ConvNeXt block: x + pointwise(gelu(pointwise(norm(depthwise(x))))), initially zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            nn.GroupNorm(1, width),
            nn.Conv2d(width, 4 * width, 1),
            nn.GELU(),
            nn.Conv2d(4 * width, width, 1),
        )
        nn.init.zeros_(self.branch[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.branch[-1].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (n, width, y, x)."""
        branch: Tensor = self.branch(x)
        return x + branch


def _stage(width: int) -> list[nn.Module]:
    return [_Depthwise(width) for _ in range(_BLOCKS)]


def _flat(a: Architecture) -> Sequence[nn.Module]:
    return nn.GELU(), nn.Flatten(), nn.Linear(a.map_size, a.features), nn.GELU()


def _last(width: int, a: Architecture) -> Sequence[nn.Module]:
    """Return the last layers of our decoder."""
    wide = nn.Conv2d(width, a.bands * a.patch**2, 3, padding=1)
    return nn.GELU(), wide, nn.PixelShuffle(a.patch), nn.Conv2d(a.bands, a.bands, 5, padding=2)
