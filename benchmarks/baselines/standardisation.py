"""Give the target's latents the anchor's means and variances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.baselines.interface import AdaptationData, Fitted

__all__ = ["Standardisation"]


@dataclass(frozen=True)
class Standardisation:
    """Standardise each survey's latents by its own mean and deviation, in the anchor's units."""

    name: ClassVar[str] = "standardisation"
    needs_pairs: ClassVar[bool] = False

    def fit(self, data: AdaptationData) -> Fitted:
        """Match first and second moments latent by latent."""
        anchor, target = data.latents
        scale = anchor.std(0) / np.maximum(target.std(0), 1e-12)
        return Fitted.affine(data, np.diag(scale), anchor.mean(0) - target.mean(0) * scale)
