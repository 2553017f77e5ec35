"""Inputs of an encoder: prepared images, and numbers that describe how each was taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Rows = slice | np.ndarray | Tensor | Sequence[int]


@dataclass(frozen=True)
class Inputs:
    """Prepared images with the instrument of each.

    Attributes
    ----------
    images : (n, planes, pixels, pixels) float tensor
        Planes of a `galaxy_da.images.preparation.Frame`.
    conditions : (n, conditions) float32 tensor
        Numbers of `galaxy_da.images.instrument.describe`.
    """

    images: Tensor
    conditions: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Rows) -> Inputs:
        return Inputs(self.images[rows], self.conditions[rows])

    def to(self, device: torch.device | str) -> Inputs:
        """Move to a device, images in channels-last order."""
        images = self.images.to(device, memory_format=torch.channels_last)
        return Inputs(images, self.conditions.to(device))

    def split(self, rows: int) -> Iterator[Inputs]:
        """Yield batches of at most so many rows."""
        for first in range(0, len(self), rows):
            yield self[first : first + rows]

    def with_images(self, images: Tensor) -> Inputs:
        """Return other images by the same instruments."""
        return Inputs(images, self.conditions)

    @classmethod
    def plain(cls, images: Tensor) -> Inputs:
        """Return images for a network that is not conditioned on the instrument."""
        return cls(images, images.new_empty(len(images), 0))

    @staticmethod
    def join(parts: Sequence[Inputs]) -> Inputs:
        """Join batches, one after the other."""
        return Inputs(
            torch.cat([part.images for part in parts]),
            torch.cat([part.conditions for part in parts]),
        )
