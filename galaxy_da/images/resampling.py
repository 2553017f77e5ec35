"""Resample images of any pixel scale onto one square grid, conserving surface brightness.

Each output pixel is the mean of the input surface brightness over its area. Flux is conserved,
shrinking does not alias, and the average is separable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional


def overlap_weights(
    n_in: int, n_out: int, scale_ratio: float | Tensor, centre_px: float | Tensor
) -> Tensor:
    """Compute the fraction of each output pixel covered by each input pixel along one axis.

    The ratio and the centre, in input pixels, are those of `resample` for one axis. Rows of the
    result, (n, n_out, n_in) float32, sum to 1 where the output pixel lies wholly on the input; n is
    1 for floats.
    """
    ratio, low = _edges(n_out, scale_ratio, centre_px)
    return _overlap(low, ratio, (0, n_in))


def covered_share(
    shape: Sequence[int],
    pixels: int,
    scale_ratio: float | Tensor,
    centre_xy: tuple[float | Tensor, float | Tensor],
) -> Tensor:
    """Return the share of each output pixel that lies on images of a (y, x) shape.

    It is (n, 1, pixels, pixels), what `resample` makes of ones, with the same arguments.
    """
    shares = []
    for length, centre in zip(shape, reversed(centre_xy), strict=True):
        ratio, low = _edges(pixels, scale_ratio, centre)
        overlap = (low + ratio).clamp_max(length - 0.5) - low.clamp_min(-0.5)
        shares.append((overlap.clamp_min(0) / ratio).float())
    rows, columns = shares
    return (rows * columns.transpose(1, 2))[:, None]


def resample(
    image: Tensor,
    pixels: int,
    scale_ratio: float | Tensor,
    centre_xy: tuple[float | Tensor, float | Tensor] | None = None,
) -> Tensor:
    """Average surface brightness over the pixels of a square output grid.

    `image` is (n, bands, y, x), taken as zero outside; `pixels` is the side of the output;
    `scale_ratio` is an output pixel's side in input pixels, one or (n,); `centre_xy` are the input
    coordinates of the output's centre, by default the image's. Returns (n, bands, pixels, pixels).
    """
    height, width = image.shape[-2:]
    x, y = ((width - 1) / 2, (height - 1) / 2) if centre_xy is None else centre_xy
    result = image.new_zeros(*image.shape[:-2], pixels, pixels)
    rows = _taps(height, pixels, scale_ratio, y)
    columns = _taps(width, pixels, scale_ratio, x)
    if rows is not None and columns is not None:
        inside = image[..., columns.first : columns.stop]
        placed = _average(_average(inside, rows).transpose(2, 3), columns, columns.first)
        result[..., rows.out, columns.out] = placed.transpose(2, 3)
    return result


@dataclass(frozen=True)
class _Taps:
    """Input pixels of each output pixel along one axis, and their weights.

    `index` and `weight` are (n, out, taps), or (1, out, taps) for one geometry. `first` and `stop`
    bound the input pixels, and `out` the output pixels with any overlap.
    """

    index: Tensor
    weight: Tensor
    first: int
    stop: int
    out: slice


def _taps(
    n_in: int, n_out: int, scale_ratio: float | Tensor, centre_px: float | Tensor
) -> _Taps | None:
    """Return the pixels to average along one axis, or None if none overlaps."""
    ratio, low = _edges(n_out, scale_ratio, centre_px)
    used = ((low + ratio > -0.5) & (low < n_in - 0.5)).any(0).flatten().nonzero().flatten()
    if not len(used):
        return None
    out = slice(int(used[0]), int(used[-1]) + 1)
    low = low[:, out]
    taps = min(math.ceil(float(ratio.max())) + 1, n_in)
    first = (low + 0.5).floor().clamp(0, n_in - taps)
    into = first + torch.arange(taps) - 0.5 - low
    weight = (into + 1).minimum(ratio).sub_(into.clamp_min(0)).clamp_min_(0).div_(ratio)
    index = first.long() + torch.arange(taps)
    return _Taps(index, weight, int(index.min()), int(index.max()) + 1, out)


def _average(image: Tensor, taps: _Taps, first: int = 0) -> Tensor:
    """Average the rows of (n, bands, y, x) images, whose first row has the number `first`.

    A weighted bag of embeddings is the same sum. Unlike a product of matrices, it reads only the
    rows that overlap, and each image may have its own.
    """
    n, bands, length, width = image.shape
    starts = torch.arange(0, n * bands * length, length).reshape(n, bands, 1, 1) - first
    index = (starts + taps.index[:, None]).flatten(0, 2)
    weight = taps.weight.to(image)[:, None].expand(n, bands, -1, -1).flatten(0, 2)
    placed = functional.embedding_bag(
        index.to(image.device),
        image.reshape(-1, width),
        per_sample_weights=weight,
        mode="sum",
    )
    return placed.reshape(n, bands, taps.index.shape[1], width)


def _edges(
    n_out: int, scale_ratio: float | Tensor, centre_px: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Return the side, (n, 1, 1), and the lower edges, (n, n_out, 1), of output pixels: float64."""
    ratio = torch.as_tensor(scale_ratio, dtype=torch.float64).reshape(-1, 1, 1)
    centre = torch.as_tensor(centre_px, dtype=torch.float64).reshape(-1, 1, 1)
    return ratio, (torch.arange(n_out)[:, None] - n_out / 2) * ratio + centre


def _overlap(low: Tensor, ratio: Tensor, pixels: tuple[int, int]) -> Tensor:
    """Return the share of output pixels on a span of input pixels, (n, out, in) float32."""
    # Whole pixels and fractions apart, float32 is exact enough, and three times faster.
    whole, ratio = low.floor(), ratio.float()
    into = whole.float() - torch.arange(*pixels, dtype=torch.float32)
    into = into.add_((low - whole + 0.5).float())
    overlap = into.add(ratio).clamp_max_(1).sub_(into.clamp_min_(0))
    return overlap.clamp_min_(0).div_(ratio)


def white_noise_share(pixels: int, scale_ratio: float, centre_xy: tuple[float, float]) -> float:
    """Return the share of white noise that remains after resampling, with arguments of `resample`.

    It is the standard deviation of an output pixel less the mean of its four neighbours, over that
    of the input's pixels, both scaled as for independent pixels.
    """
    (x, x1, x2), (y, y1, y2) = (
        _covariance(pixels, scale_ratio, round(centre % 1, 3)) for centre in centre_xy
    )
    around = (4 * x * y + 2 * x2 * y + 2 * x * y2 + 8 * x1 * y1) / 16
    return float(((x * y + around - x1 * y - x * y1) / 1.25) ** 0.5)


@lru_cache(maxsize=1024)
def _covariance(pixels: int, scale_ratio: float, phase: float) -> tuple[float, ...]:
    """Mean covariance of output pixels that are 0, 1 and 2 apart along one axis."""
    middle = int(pixels * scale_ratio / 2) + 2
    weights = overlap_weights(2 * middle + 2, pixels, scale_ratio, middle + phase)[0].double()
    covariance = weights @ weights.T
    return tuple(float(covariance.diagonal(apart).mean()) for apart in range(3))
