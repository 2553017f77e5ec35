"""Shift and rotate the target's latents onto the anchor's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scipy.linalg import orthogonal_procrustes

from benchmarks.baselines.interface import AdaptationData, Fitted

__all__ = ["Procrustes"]


@dataclass(frozen=True)
class Procrustes:
    """The rigid motion that brings paired latents closest.

    No scale is fitted: noisy pairs give one below 1, which shrinks all galaxies towards the mean.

    References
    ----------
    Schönemann (1966), Psychometrika 31, 1.
    """

    name: ClassVar[str] = "procrustes"
    needs_pairs: ClassVar[bool] = True

    def fit(self, data: AdaptationData) -> Fitted:
        """Fit shift and rotation or reflection to the pairs."""
        data.require_pairs(self.name)
        anchor, target = data.latents
        rotation, _ = orthogonal_procrustes(target - target.mean(0), anchor - anchor.mean(0))
        return Fitted.affine(data, rotation, anchor.mean(0) - target.mean(0) @ rotation)
