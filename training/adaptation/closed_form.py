"""Closed-form maps of latents, folded into the last layer of a copy of the encoder.

Every map returns an ordinary encoder, which can be used like a trained one.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import numpy as np
import ot.gaussian
import torch
from scipy.linalg import block_diag
from sklearn.linear_model import RidgeCV
from torch import Tensor

from galaxy_da.models.networks import Encoder

__all__ = [
    "match_covariances",
    "match_moments",
    "ridge_from_features",
    "ridge_from_latents",
    "ridge_to_identity",
]

_ALPHAS = np.logspace(-3, 4, 15)
_ROUNDING = 1e-12
"""Share of the variance that keeps a singular covariance positive despite rounding."""


def ridge_from_latents(network: Encoder, features: Tensor, anchor: Tensor) -> Encoder:
    """Map the encoder's latents linearly onto the anchor's (n, latents) of the same galaxies.

    `features` are the last ones of the target's images, (n, features). Leave-one-out
    cross-validation chooses the penalty.
    """
    slope, offset = _ridge(network.mean(features).detach(), anchor)
    return _followed_by(network, slope, offset)


def ridge_from_features(network: Encoder, features: Tensor, anchor: Tensor) -> Encoder:
    """Predict the anchor's latents linearly from the encoder's last features."""
    mapped = copy.deepcopy(network).requires_grad_(False)
    slope, offset = _ridge(features, anchor)
    mapped.mean.weight.copy_(slope)
    mapped.mean.bias.copy_(offset)
    return mapped


def ridge_to_identity(network: Encoder, latents: Tensor, anchor: Tensor) -> Encoder:
    """Correct the encoder's latents by a linear map that is shrunk towards the identity.

    The regression predicts the difference from the anchor's latents, so that few pairs change the
    encoder little.
    """
    slope, offset = _ridge(latents, anchor - latents)
    return _followed_by(network, torch.eye(len(slope)) + slope, offset)


def match_moments(network: Encoder, latents: Tensor, anchor: Tensor) -> Encoder:
    """Give each latent the anchor's mean and standard deviation, from latents of any galaxies."""
    stretch = anchor.std(0) / latents.std(0).clamp_min(1e-6)
    return _followed_by(network, torch.diag(stretch), anchor.mean(0) - stretch * latents.mean(0))


def match_covariances(network: Encoder, latents: Tensor, anchor: Tensor) -> Encoder:
    """Give the latents the anchor's mean and covariance, from latents of any galaxies.

    The map is optimal transport between Gaussians, which moves the latents least (Peyre & Cuturi
    2019, Computational Optimal Transport, remark 2.31). Galaxy and nuisance latents are not mixed.
    """

    def slope(target: Tensor, anchor: Tensor) -> Tensor:
        means = [x.double().mean(0) for x in (target, anchor)]
        covariances = [_covariance(x, ridge) for x, ridge in ((target, 1e-6), (anchor, _ROUNDING))]
        optimal: Tensor = ot.gaussian.bures_wasserstein_mapping(*means, *covariances)[0]
        return optimal.float()

    return _block_by_block(network, latents, anchor, slope)


def _block_by_block(
    network: Encoder, latents: Tensor, anchor: Tensor, slope_of: Callable[[Tensor, Tensor], Tensor]
) -> Encoder:
    """Map galaxy and nuisance latents by separate slopes, and match the means."""
    edges = sorted({0, network.galaxy_latents, latents.shape[1]})
    slopes = [
        slope_of(latents[:, start:stop], anchor[:, start:stop])
        for start, stop in itertools.pairwise(edges)
    ]
    slope = torch.from_numpy(block_diag(*slopes))
    return _followed_by(network, slope, anchor.mean(0) - slope @ latents.mean(0))


def _covariance(values: Tensor, ridge: float) -> Tensor:
    """Covariance of (n, latents) rows plus a share of its mean variance on the diagonal."""
    covariance = torch.cov(values.double().T).reshape(values.shape[1], -1)
    return covariance + ridge * covariance.diagonal().mean() * torch.eye(len(covariance))


def _followed_by(network: Encoder, slope: Tensor, offset: Tensor) -> Encoder:
    mapped = copy.deepcopy(network).requires_grad_(False)
    mapped.mean.bias.copy_(slope @ mapped.mean.bias + offset)
    mapped.mean.weight.copy_(slope @ mapped.mean.weight)
    return mapped


def _ridge(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    x = inputs.double().numpy()
    scale = x.std(0) + 1e-6
    fit = RidgeCV(alphas=_ALPHAS).fit(x / scale, outputs.double().numpy())
    return (
        torch.from_numpy(fit.coef_ / scale).float(),
        torch.from_numpy(np.asarray(fit.intercept_)).float(),
    )
