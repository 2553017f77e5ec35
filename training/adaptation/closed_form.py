"""Closed-form maps of latents, folded into the last layer of a copy of the encoder.

Every map returns an ordinary encoder, which can be used like a trained one.
"""

from __future__ import annotations

import copy
import itertools

import numpy as np
import ot.gaussian
import torch
from scipy.linalg import block_diag
from sklearn.linear_model import RidgeCV
from torch import Tensor

from galaxy_da.models.networks import Encoder

_ALPHAS = np.logspace(-3, 4, 15)
_ROUNDING = 1e-12
"""Share of the variance that keeps a singular covariance positive despite rounding."""


def ridge_to_identity(network: Encoder, latents: Tensor, anchor: Tensor) -> Encoder:
    """Correct the encoder's latents by a linear map that is shrunk towards the identity.

    The regression predicts the difference from the anchor's latents, so that few pairs change the
    encoder little.
    """
    slope, offset = ridge(latents, anchor - latents)
    return followed_by(network, torch.eye(len(slope)) + slope, offset)


def match_moments(network: Encoder, latents: Tensor, anchor: Tensor) -> Encoder:
    """Give each latent the anchor's mean and standard deviation, from latents of any galaxies."""
    stretch = anchor.std(0) / latents.std(0).clamp_min(1e-6)
    return followed_by(network, torch.diag(stretch), anchor.mean(0) - stretch * latents.mean(0))


def match_covariances(network: Encoder, latents: Tensor, anchor: Tensor) -> Encoder:
    """Give the latents the anchor's mean and covariance, from latents of any galaxies.

    The map is optimal transport between Gaussians, which moves the latents least (Peyre & Cuturi
    2019, Computational Optimal Transport, remark 2.31). Galaxy and nuisance latents are not mixed.
    """
    edges = sorted({0, network.galaxy_latents, latents.shape[1]})
    slopes = [_optimal(latents[:, a:b], anchor[:, a:b]) for a, b in itertools.pairwise(edges)]
    slope = torch.from_numpy(block_diag(*slopes))
    return followed_by(network, slope, anchor.mean(0) - slope @ latents.mean(0))


def _optimal(target: Tensor, anchor: Tensor) -> Tensor:
    means = [x.double().mean(0) for x in (target, anchor)]
    covariances = [_covariance(x, share) for x, share in ((target, 1e-6), (anchor, _ROUNDING))]
    optimal: Tensor = ot.gaussian.bures_wasserstein_mapping(*means, *covariances)[0]
    return optimal.float()


def _covariance(values: Tensor, share: float) -> Tensor:
    covariance = torch.cov(values.double().T).reshape(values.shape[1], -1)
    return covariance + share * covariance.diagonal().mean() * torch.eye(len(covariance))


def followed_by(network: Encoder, slope: Tensor, offset: Tensor) -> Encoder:
    """Return a copy of an encoder whose latents are mapped linearly."""
    mapped = copy.deepcopy(network).requires_grad_(False)
    mapped.mean.bias.copy_(slope @ mapped.mean.bias + offset)
    mapped.mean.weight.copy_(slope @ mapped.mean.weight)
    return mapped


def ridge(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return slope and offset of a regression; leave-one-out errors choose the penalty."""
    x = inputs.double().numpy()
    scale = x.std(0) + 1e-6
    fit = RidgeCV(alphas=_ALPHAS).fit(x / scale, outputs.double().numpy())
    return (
        torch.from_numpy(fit.coef_ / scale).float(),
        torch.from_numpy(np.asarray(fit.intercept_)).float(),
    )
