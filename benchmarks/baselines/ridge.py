"""Predict the anchor's latents by ridge regression, from target latents or last features."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from benchmarks.baselines.interface import AdaptationData, Fitted
from galaxy_da.models.networks import Encoder
from galaxy_da.models.symmetric_outputs import features_by_symmetry
from training.adaptation.closed_form import followed_by, ridge

__all__ = ["RidgeFromFeatures", "RidgeFromLatents", "ridge_from_features", "ridge_from_latents"]


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


def ridge_from_latents(network: Encoder, features: Tensor, anchor: Tensor) -> Encoder:
    """Map latents linearly onto the anchor's (n, latents), from the (n, features) of the target."""
    slope, offset = ridge(network.mean(features).detach(), anchor)
    return followed_by(network, slope, offset)


def ridge_from_features(network: Encoder, features: Tensor, anchor: Tensor) -> Encoder:
    """Predict the anchor's latents linearly from the encoder's last features."""
    mapped = copy.deepcopy(network).requires_grad_(False)
    slope, offset = ridge(features, anchor)
    mapped.mean.weight.copy_(slope)
    mapped.mean.bias.copy_(offset)
    return mapped


def _fit(data: AdaptationData, regress: Callable[[Encoder, Tensor, Tensor], Encoder]) -> Fitted:
    """Fit one of the closed forms and read the target through its network."""
    network = data.encoder.network
    features = features_by_symmetry(network, data.target).flatten(0, 1)
    mapped = regress(network.cpu(), features, data.means[0])
    return Fitted(
        anchor=data.encode_anchor, target=lambda inputs: data.encode_target(inputs, mapped)
    )
