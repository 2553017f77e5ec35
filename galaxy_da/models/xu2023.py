"""Network of Xu et al. (2023), for comparison: pooled blocks and non-negative images.

References
----------
Xu et al. (2023), MNRAS 526, 6391: 40 latents, and three blocks of a strided convolution and max
pooling, of 32, 64 and 128 channels, from 256 px to 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

STEP = 4
"""Factor by which each block shrinks the side."""


def encoder_body(bands: int, widths: Sequence[int]) -> nn.Sequential:
    """Build the layers from (n, bands, y, x) images to flat features."""
    blocks: list[nn.Module] = []
    for before, width in pairwise((bands, *widths)):
        blocks += [nn.Conv2d(before, width, 3, 2, 1), nn.MaxPool2d(2), nn.LeakyReLU()]
    return nn.Sequential(*blocks, nn.Flatten())


def decoder_body(bands: int, widths: Sequence[int]) -> nn.Sequential:
    """Build the layers from (n, widths[-1], y, x) maps to non-negative images."""
    blocks: list[nn.Module] = []
    for before, width in pairwise((*widths[::-1], widths[0])):
        grow = nn.ConvTranspose2d(before, width, 3, 2, 1, output_padding=1)
        blocks += [nn.Upsample(scale_factor=2), grow, nn.LeakyReLU()]
    return nn.Sequential(*blocks, nn.Conv2d(widths[0], bands, 3, padding=1), nn.ReLU())
