"""Resample images of any pixel scale onto one square grid, conserving surface brightness.

Each output pixel is the mean of the input surface brightness over its area. Flux is conserved,
shrinking does not alias, and the average is separable: one small matrix per axis.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["overlap_weights", "resample", "white_noise_share"]


def overlap_weights(
    n_in: int, n_out: int, scale_ratio: float | Tensor, centre_px: float | Tensor
) -> Tensor:
    """Compute the fraction of each output pixel covered by each input pixel along one axis.

    The ratio and the centre, in input pixels, are those of `resample` for one axis. Rows of the
    result, (n, n_out, n_in) float32, sum to 1 where the output pixel lies wholly on the input; n is
    1 for floats.
    """
    ratio = torch.as_tensor(scale_ratio, dtype=torch.float64).reshape(-1, 1, 1)
    centre = torch.as_tensor(centre_px, dtype=torch.float64).reshape(-1, 1, 1)
    low = (torch.arange(n_out, dtype=torch.float64)[:, None] - n_out / 2) * ratio + centre
    pixel = torch.arange(n_in, dtype=torch.float64)
    overlap = torch.minimum(low + ratio, pixel + 0.5) - torch.maximum(low, pixel - 0.5)
    return (overlap.clamp_min(0) / ratio).float()


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
    rows, top, upper = _within(overlap_weights(height, pixels, scale_ratio, y))
    columns, left, lower = _within(overlap_weights(width, pixels, scale_ratio, x))
    rows, columns = rows.to(image), columns.to(image).transpose(1, 2)
    inside = image[..., top[0] : top[1], left[0] : left[1]]
    if len(rows) == len(columns) == 1:  # one matrix for all images
        placed = rows[0] @ (inside @ columns[0])
    else:
        placed = rows[:, None] @ (inside @ columns[:, None])
    if placed.shape[-2:] == (pixels, pixels):
        return placed
    result = image.new_zeros(*image.shape[:-2], pixels, pixels)
    result[..., upper[0] : upper[1], lower[0] : lower[1]] = placed
    return result


def _within(weights: Tensor) -> tuple[Tensor, tuple[int, int], tuple[int, int]]:
    """Cut (n, out, in) weights to the pixels that overlap, and return their spans, in and out."""
    overlap = (weights > 0).any(0)
    spans = []
    for axis in (0, 1):
        used = overlap.any(axis).nonzero().flatten()
        spans.append((int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0))
    (first, stop), (low, high) = spans
    return weights[:, low:high, first:stop], spans[0], spans[1]


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
