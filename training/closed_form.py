"""Adaptation by linear algebra: ridge maps folded into the encoder's last layer.

Both maps leave an ordinary encoder behind, so everything downstream treats them like a trained one.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor

from galaxy_da.models import Encoder

__all__ = ["ridge_from_features", "ridge_from_latents"]

_ALPHAS = np.logspace(-3, 4, 15)


def ridge_from_latents(network: Encoder, features: Tensor, anchor: Tensor) -> Encoder:
    """Map the encoder's latents linearly onto the anchor's.

    Parameters
    ----------
    network : Encoder
        Left as it is.
    features : (n, features) float tensor
        Last features of the target survey's images.
    anchor : (n, latents) float tensor
        Posterior means of the same galaxies in the anchor survey.

    Returns
    -------
    Encoder
        A copy whose mean layer is the old one followed by the map. The penalty is chosen by
        leave-one-out cross-validation.
    """
    mapped = copy.deepcopy(network).requires_grad_(False)
    latents = mapped.mean(features)
    slope, offset = _ridge(latents, anchor)
    mapped.mean.bias.copy_(slope @ mapped.mean.bias + offset)
    mapped.mean.weight.copy_(slope @ mapped.mean.weight)
    return mapped


def ridge_from_features(network: Encoder, features: Tensor, anchor: Tensor) -> Encoder:
    """Predict the anchor's latents linearly from the encoder's last features.

    Parameters and result are those of `ridge_from_latents`; the mean layer is replaced.
    """
    mapped = copy.deepcopy(network).requires_grad_(False)
    slope, offset = _ridge(features, anchor)
    mapped.mean.weight.copy_(slope)
    mapped.mean.bias.copy_(offset)
    return mapped


def _ridge(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    x = inputs.double().numpy()
    scale = x.std(0) + 1e-6
    fit = RidgeCV(alphas=_ALPHAS).fit(x / scale, outputs.double().numpy())
    return (
        torch.from_numpy(fit.coef_ / scale).float(),
        torch.from_numpy(np.asarray(fit.intercept_)).float(),
    )
