"""Whiten the target's latents and recolour them with the anchor's covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.baselines.interface import AdaptationData, Fitted

__all__ = ["CoralMap"]


@dataclass(frozen=True)
class CoralMap:
    """Correlation alignment in closed form.

    The paper adds the identity to both covariances; here a small share of the mean variance keeps
    them invertible. The means are matched too; the paper standardises its inputs instead.

    Attributes
    ----------
    ridge : float
        Share of the mean variance added to both covariances.

    References
    ----------
    Sun, Feng & Saenko (2016), Return of Frustratingly Easy Domain Adaptation, arXiv 1511.05547,
    algorithm 1.
    """

    ridge: float = 1e-6

    name: ClassVar[str] = "coral"
    needs_pairs: ClassVar[bool] = False

    def fit(self, data: AdaptationData) -> Fitted:
        """Match means and covariances."""
        anchor, target = data.latents
        slope = self._power(target, -0.5) @ self._power(anchor, 0.5)
        return Fitted.affine(data, slope, anchor.mean(0) - target.mean(0) @ slope)

    def _power(self, latents: np.ndarray, power: float) -> np.ndarray:
        """Symmetric power of the covariance."""
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(latents.T)))
        kept: np.ndarray = (vectors * (values + self.ridge * values.mean()) ** power) @ vectors.T
        return kept
