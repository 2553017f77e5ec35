"""Predict the anchor's latents by ridge regression, from target latents or last features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from benchmarks.baselines.interface import AdaptationData, Fitted
from galaxy_da.models.networks import Encoder
from galaxy_da.models.symmetric_outputs import features_by_symmetry
from training.adaptation.closed_form import ridge_from_features, ridge_from_latents

__all__ = ["RidgeFromFeatures", "RidgeFromLatents"]


@dataclass(frozen=True)
class RidgeFromLatents:
    """Ridge regression between paired latents, penalty by leave-one-out.

    References
    ----------
    Hoerl & Kennard (1970), Technometrics 12, 55.
    """

    name: ClassVar[str] = "ridge-latents"
    needs_pairs: ClassVar[bool] = True

    def fit(self, data: AdaptationData) -> Fitted:
        """Fit to the pairs in every symmetry."""
        data.require_pairs(self.name)
        return _fit(data, ridge_from_latents)


@dataclass(frozen=True)
class RidgeFromFeatures:
    """Ridge regression from the encoder's last features; see `RidgeFromLatents`."""

    name: ClassVar[str] = "ridge-features"
    needs_pairs: ClassVar[bool] = True

    def fit(self, data: AdaptationData) -> Fitted:
        """Fit to the pairs in every symmetry."""
        data.require_pairs(self.name)
        return _fit(data, ridge_from_features)


def _fit(data: AdaptationData, regress: Callable[[Encoder, Tensor, Tensor], Encoder]) -> Fitted:
    """Fit one of the closed forms and read the target through its network."""
    network = data.encoder.network
    features = features_by_symmetry(network, data.target).flatten(0, 1)
    mapped = regress(network.cpu(), features, data.means[0])
    return Fitted(
        anchor=data.encode_anchor, target=lambda inputs: data.encode_target(inputs, mapped)
    )
