"""Vary the images of a batch: symmetry, calibration, coverage and missing bands."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from galaxy_da.images.inputs import Inputs
from galaxy_da.images.instrument import PER_BAND, without_bands
from galaxy_da.images.preparation import Frame
from training.anchor.recipe import Jitter

_STAMPS_ARCSEC = (20.0, 134.2)  # range of the sides of stamps
_SHORT, _FRAME_ONLY = 0.3, 0.3  # shares of stamps that end within the first grid, or just beyond it
_DARK_STRIP = 0.05  # share of images that miss a strip, as at the edge of a detector
_BAND_LOSS = 0.3  # share of images by other instruments that lose a band
_SATURATION = (5.5, 10.0)  # range at which colour pictures saturate [asinh units]


class Augmentation:
    """Random changes of images in a frame with two grids, by a seeded generator."""

    def __init__(self, frame: Frame, jitter: Jitter, seed: int) -> None:
        self._frame, self._jitter = frame, jitter
        self._random = torch.Generator().manual_seed(seed)
        half = (torch.arange(frame.pixels) + 0.5 - frame.pixels / 2).abs()
        self._reach = [half * scale for scale in frame.scales_arcsec]  # arcsec from the middle

    def __call__(self, images: Tensor, conditions: Tensor, lose_bands: Tensor) -> Inputs:
        """Return inputs with coverage planes.

        Parameters
        ----------
        images : (n, bands of both grids, y, x) tensor
            Changed in place.
        conditions : (n, k) tensor
            Their instruments.
        lose_bands : (n,) bool tensor
            Images that may lose bands.
        """
        n, bands = len(images), len(self._frame.bands)
        self._miscalibrate(images, conditions[:, -1] > 0)
        present = conditions[:, : PER_BAND * bands : PER_BAND] > 0
        missing = ~present | (self._missing(n) & lose_bands[:, None])
        missing &= ~missing.all(1, keepdim=True)
        coverage = self._coverage(n).to(images)
        seen = coverage[:, :, None] * ~missing[:, None, :, None, None]
        whole = torch.cat([images * seen.flatten(1, 2), coverage], 1)
        return Inputs(whole, without_bands(conditions, missing))

    def _uniform(self, n: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(n, generator=self._random) * (high - low) + low

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, 1, 1, generator=self._random)

    def _miscalibrate(self, images: Tensor, picture: Tensor) -> None:
        """Change gain, colour and the slope of bright light; pictures also saturate."""
        j, n = self._jitter, len(images)
        bands = images.shape[1] // 2
        share = torch.where(picture, 1.0, j.flux_share)[:, None, None, None]
        gain = share * (j.gain * self._normal(n, 1) + j.colour * self._normal(n, bands))
        knee = self._uniform(n, 1.5, 4.0)[:, None, None, None]
        slope = share * j.bright * self._normal(n, 1)
        bright = (images - knee.to(images)).relu_().mul_(slope.to(images))
        images.add_(images.clamp(-1, 1).mul_(gain.repeat(1, 2, 1, 1).to(images))).add_(bright)
        full = torch.where(picture, self._uniform(n, *_SATURATION), torch.inf)
        torch.minimum(images, full[:, None, None, None].to(images), out=images)

    def _coverage(self, n: int) -> Tensor:
        """(n, 2, y, x) of 0 and 1: square stamps, some without a strip."""
        kind = self._uniform(n)
        first = 2 * float(self._reach[0].max())
        side = torch.where(
            kind < _SHORT,
            self._uniform(n, _STAMPS_ARCSEC[0], first),
            torch.where(
                kind < _SHORT + _FRAME_ONLY,
                first + 0.5,
                self._uniform(n, first, 1.2 * _STAMPS_ARCSEC[1]),
            ),
        )
        shift = self._uniform(n, 0.0, 1e-3)  # ties
        strip = torch.where(self._uniform(n) < _DARK_STRIP, self._uniform(n, 2.0, 14.0), torch.inf)
        planes = []
        for reach in self._reach:
            inside = (reach[None] <= (side / 2 + shift)[:, None]).float()
            signed = reach * torch.sign(torch.arange(len(reach)) + 0.5 - len(reach) / 2)
            lit = (signed[None] < strip[:, None]).float()
            planes.append(inside[:, :, None] * (inside * lit)[:, None, :])
        return torch.stack(planes, 1)

    def _missing(self, n: int) -> Tensor:
        """(n, bands) bool: one band lost in some images, two in a few."""
        bands = len(self._frame.bands)
        order = torch.rand(n, bands, generator=self._random).argsort(1)
        lost = (self._uniform(n) < _BAND_LOSS).long()
        lost += lost * (self._uniform(n) < _BAND_LOSS).long()
        return order < lost[:, None].clamp_max(bands - 1)


def hard_batches(
    magnitude: np.ndarray, batch: int, hard_share: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Shuffle rows into batches, a share of which hold galaxies of similar magnitude."""
    order = rng.permutation(len(magnitude))
    batches = []
    group = 4 * batch
    for first in range(0, len(order) - group + 1, group):
        rows = order[first : first + group]
        if rng.random() < hard_share:
            rows = rows[np.argsort(magnitude[rows] + rng.normal(0, 0.3, group))]
        batches += list(rows.reshape(4, batch))
    if not batches:
        return [order[:batch]]
    return [batches[i] for i in rng.permutation(len(batches))]
