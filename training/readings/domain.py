"""Fit the model of the domain of a space."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from galaxy_da.models.domain import Domain
from training.readings.kinds import REASONS

_HIDDEN, _STEPS, _BATCH = 128, 4000, 512
_RATE, _DECAY = 3e-3, 0.2
_CLIP = 8.0  # as in galaxy_da.models.domain
_LEAST_VARIANCE = 1e-3  # of whitened axes, over that of a standardised number
_MOST_AXES = 64


def fit_domain(
    inside: np.ndarray, unseen: np.ndarray, outside: Mapping[str, np.ndarray], seed: int
) -> Domain:
    """Fit the network and the population, and calibrate both.

    Parameters
    ----------
    inside, unseen : (n, inputs) float32 arrays
        Summaries of galaxies: those of the fit, and those that calibrate it.
    outside : dict of str to (m, inputs) float32 array
        Summaries of images of each kind.
    seed : int
        Seed of the network.
    """
    centre, spread = inside.mean(0), np.maximum(inside.std(0), 1e-2)
    classes = [inside, *outside.values()]
    x = np.concatenate([((part - centre) / spread).clip(-_CLIP, _CLIP) for part in classes])
    label = np.repeat(np.arange(len(classes)), [len(part) for part in classes])
    weights, biases = _fit(x.astype(np.float32), label, seed)
    values, vectors = np.linalg.eigh(np.cov(x[label == 0], rowvar=False))
    first = np.argsort(-values)[:_MOST_AXES]
    first = first[values[first] > _LEAST_VARIANCE]
    model = Domain(
        reasons=tuple(REASONS[kind] for kind in outside),
        centre=centre.astype(np.float32),
        spread=spread.astype(np.float32),
        weights=weights,
        biases=biases,
        axes=(vectors[:, first] / np.sqrt(values[first])).astype(np.float32),
        levels=np.zeros((2, 1), np.float32),
    )
    levels = np.sort(model.measures(unseen)[0], axis=1).astype(np.float32)
    return Domain(**{**vars(model), "levels": levels})


def _fit(
    x: np.ndarray, label: np.ndarray, seed: int
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    inputs, goal = torch.from_numpy(x), torch.from_numpy(label)
    count = int(label.max()) + 1
    network = nn.Sequential(
        nn.Linear(x.shape[1], _HIDDEN), nn.Tanh(), nn.Linear(_HIDDEN, _HIDDEN), nn.Tanh(),
        nn.Linear(_HIDDEN, count),
    )  # fmt: skip
    share = np.bincount(label) / len(label)
    wanted = np.array([0.5] + [0.5 / (count - 1)] * (count - 1))
    weight = torch.from_numpy((wanted / share)[label])
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=_STEPS)
    for _ in range(_STEPS):
        rows = torch.multinomial(weight, min(_BATCH, len(x)), replacement=True, generator=random)
        loss = nn.functional.cross_entropy(network(inputs[rows]), goal[rows], label_smoothing=0.01)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    return (
        tuple(layer.weight.detach().numpy().T.copy() for layer in layers),
        tuple(layer.bias.detach().numpy().copy() for layer in layers),
    )
