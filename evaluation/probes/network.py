"""Fit the networks of a probe: an ensemble that predicts distributions, by maximum likelihood."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from galaxy_da.models.probes import MOST_LOG_CONCENTRATION, OUTPUTS, Link

_HIDDEN, _NETWORKS = 64, 3
_STEPS, _BATCH = 800, 512
_RATE, _DECAY = 3e-3, 0.5
_VOTES_PRIOR = 2500.0  # decay times the number of galaxies: a prior on the weights
_CLIP = 6.0  # as in galaxy_da.models.probes
_LEAST_SIGMA = 0.02  # of standardised targets
_MOST_RESIDUAL = 5.0  # standard deviations beyond which a residual counts linearly

Layers = tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]
"""Weights (networks, inputs, outputs) and biases (networks, outputs) of each layer."""


def fit_networks(
    x: np.ndarray,
    y: np.ndarray,
    link: Link,
    seed: int,
    start: np.ndarray | None = None,
    weight: float = 0.0,
) -> Layers:
    """Fit an ensemble, each network to other batches and from other first weights.

    Parameters
    ----------
    x : (n, inputs) array
        Standardised summaries.
    y : (n, k) array
        Targets: values, logarithms for ``exp``, shares of yes for ``logistic``, or for ``angle``
        cosine and sine of twice the angle times a weight of at most 1, for ``votes`` the numbers of
        votes for k answers.
    link : {"identity", "exp", "logistic", "angle", "votes"}
        Distribution: normal of the value or of its logarithm, Bernoulli, von Mises of twice the
        angle, or Dirichlet-multinomial.
    seed : int
        Seed of weights and batches.
    start : (outputs,) array, optional
        Outputs for which weights of zero stand; by default zero.
    weight : float
        Power of the predicted variance by which galaxies of a normal distribution count more
        (Seitzer et al. 2022, arXiv 2203.09168). Where most galaxies have the value 0, as of bars,
        a network without it neglects the others, and predicts too little.
    """
    random = torch.Generator().manual_seed(seed)
    inputs = torch.from_numpy(np.asarray(x, np.float32)).clamp(-_CLIP, _CLIP)
    middle, scale = np.zeros(y.shape[1]), 1.0
    if link in ("identity", "exp"):
        middle, scale = y.mean(0), float(max(y.std(), 1e-6))
    goal = torch.from_numpy(((y - middle) / scale).astype(np.float32))
    outputs = y.shape[1] if link == "votes" else OUTPUTS[link]
    start = np.zeros(outputs) if start is None else start
    offset = torch.from_numpy(np.asarray(start, np.float32))
    layers = _first_layers(inputs.shape[1], outputs, random)
    loss_of = partial(_normal, weight=weight) if link in ("identity", "exp") else _LOSSES[link]
    decay = _VOTES_PRIOR / len(inputs) if link == "votes" else _DECAY
    optimiser = torch.optim.AdamW(layers, lr=_RATE, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=_STEPS)
    batch = min(_BATCH, len(inputs))
    for _ in range(_STEPS):
        rows = torch.randint(len(inputs), (_NETWORKS, batch), generator=random)
        loss = loss_of(_forward(inputs[rows], layers) + offset, goal[rows]).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    w1, b1, w2, b2 = (layer.detach().double().numpy() for layer in layers)
    if link in ("identity", "exp"):
        w2[..., 0] *= scale
        b2 = np.stack([b2[:, 0] * scale + middle[0], b2[:, 1] + math.log(scale)], 1)
    b2 = b2 + start
    return (
        (w1.astype(np.float32), w2.astype(np.float32)),
        (b1.astype(np.float32), b2.astype(np.float32)),
    )


def _first_layers(inputs: int, outputs: int, random: torch.Generator) -> list[nn.Parameter]:
    shapes = ((inputs, _HIDDEN), (_HIDDEN, outputs))
    layers = []
    for rows, columns in shapes:
        weight = torch.randn(_NETWORKS, rows, columns, generator=random) / math.sqrt(rows)
        layers += [nn.Parameter(weight), nn.Parameter(torch.zeros(_NETWORKS, columns))]
    return layers


def _forward(x: Tensor, layers: list[nn.Parameter]) -> Tensor:
    w1, b1, w2, b2 = layers
    hidden = torch.tanh(torch.baddbmm(b1[:, None], x, w1))
    return torch.baddbmm(b2[:, None], hidden, w2)


def _normal(output: Tensor, goal: Tensor, weight: float) -> Tensor:
    """Negative log likelihood, linear in far residuals, times a power of the variance."""
    log_sigma = output[..., 1].clamp_min(math.log(_LEAST_SIGMA))
    residual = (goal[..., 0] - output[..., 0]) * torch.exp(-log_sigma)
    loss = log_sigma + nn.functional.huber_loss(
        residual, torch.zeros_like(residual), reduction="none", delta=_MOST_RESIDUAL
    )
    return loss * torch.exp(2 * weight * log_sigma.detach())


def _bernoulli(output: Tensor, goal: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(output, goal, reduction="none")


def _von_mises(output: Tensor, goal: Tensor) -> Tensor:
    """Weighted negative log likelihood of the natural parameters."""
    kappa = output.norm(dim=-1)
    weight = goal.norm(dim=-1)
    unit = goal / weight.clamp_min(1e-6)[..., None]
    log_norm = torch.special.i0e(kappa).log() + kappa
    return torch.where(weight > 0, log_norm - (output * unit).sum(-1), 0.0)


def votes_loss(output: Tensor, goal: Tensor) -> Tensor:
    """Return the negative log likelihood of numbers of votes, given their totals.

    `output` (..., k) are logarithms of the concentrations of a Dirichlet-multinomial distribution,
    `goal` (..., k) the votes.
    """
    limit = MOST_LOG_CONCENTRATION
    concentration = output.clamp(-limit, limit).exp()
    total, votes = concentration.sum(-1), goal.sum(-1)
    each = (goal + concentration).lgamma() - concentration.lgamma() - (goal + 1).lgamma()
    of_totals = total.lgamma() + (votes + 1).lgamma() - (votes + total).lgamma()
    return torch.neg(each.sum(-1) + of_totals)


_LOSSES = {
    "logistic": _bernoulli,
    "angle": _von_mises,
    "votes": votes_loss,
}
