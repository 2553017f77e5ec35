"""Train one candidate for a fixed processor time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from galaxy_da.io.files import atomic_path
from galaxy_da.models.devices import autocast
from galaxy_da.models.networks import Architecture
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry
from training.pretraining.learner import Batch, Learner, loss_of
from training.pretraining.recipe import Objective, Optimiser, Recipe, Sky

__all__ = ["BATCH", "RATE", "Trained", "recipe_of", "train"]

BATCH, RATE = 128, 1.5e-3
_WARM_UP = 50
_CPU = torch.device("cpu")


class Trained(NamedTuple):
    """Trained network, its images per second and its images in all."""

    learner: Learner
    images_per_s: float
    images: int


def recipe_of(architecture: Architecture, seed: int, **objective: float) -> Recipe:
    """Return a recipe with the shipped space's noise; the default objective is the ELBO."""
    return Recipe(
        name="comparison",
        seed=seed,
        sky=Sky(galaxies=1),
        architecture=architecture,
        objective=Objective.model_validate({"noise": 0.2, **objective}),
        optimiser=Optimiser(epochs=1, batch=BATCH, learning_rate=RATE),
    )


def train(
    recipe: Recipe,
    build: Callable[[Architecture], Learner],
    galaxies: Tensor,
    seconds: float,
    keep: Path,
    before: Callable[[Tensor], Tensor] | None = None,
) -> Trained:
    """Train a network as pretraining does, or read the stored one.

    Parameters
    ----------
    recipe : Recipe
        Recipe with objective, seed and number of observations.
    build : callable
        Function from architecture to network.
    galaxies : (n, 2, bands, y, x) float16 tensor
        Two observations of each galaxy; a recipe with one observation draws from both.
    seconds : float
        Processor time of the training, at whose end the learning rate is zero. Other load on the
        machine does not change it.
    keep : Path
        ``.safetensors`` file to store the trained network in.
    before : callable, optional
        Transform of (n, bands, y, x) images; a random symmetry by default.
    """
    torch.manual_seed(recipe.seed)
    learner = build(recipe.architecture)
    if keep.is_file():
        with safetensors.safe_open(keep, framework="pt") as file:
            counts = file.metadata()
        safetensors.torch.load_model(learner, keep)
    else:
        counts = _run(recipe, learner, galaxies, seconds, before or _any_symmetry)
        with atomic_path(keep) as temporary:
            safetensors.torch.save_model(learner, str(temporary), counts)
    learner.to(memory_format=torch.channels_last)
    images = int(counts["images"])
    return Trained(learner.requires_grad_(False).eval(), images / float(counts["seconds"]), images)


def _run(
    recipe: Recipe,
    learner: Learner,
    galaxies: Tensor,
    seconds: float,
    before: Callable[[Tensor], Tensor],
) -> dict[str, str]:
    """Train in place; return the numbers of images and seconds."""
    learner.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(learner.parameters(), lr=RATE)

    def forward(*arguments: Any) -> Any:
        with autocast(_CPU, "auto"):
            return learner(*arguments)

    start, n_images = time.process_time(), 0
    while (share := (time.process_time() - start) / seconds) < 1:
        warm = min(1.0, (n_images / BATCH + 1) / _WARM_UP)
        for group in optimiser.param_groups:
            group["lr"] = RATE * warm * 0.5 * (1 + np.cos(np.pi * share))
        images = torch.cat([before(observation) for observation in _draw(recipe, galaxies)])
        loss, _ = loss_of(recipe, learner, forward, _batch(images), 0.0)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        n_images += len(images)
    return {"images": str(n_images), "seconds": str(time.process_time() - start)}


def _draw(recipe: Recipe, galaxies: Tensor) -> list[Tensor]:
    """Draw a batch: one of two observations, or both of half as many galaxies."""
    rows = torch.randint(len(galaxies), (BATCH // recipe.observations,))
    if recipe.observations == 2:
        return list(galaxies[rows].float().unbind(1))
    return [galaxies[rows, torch.randint(2, rows.shape)].float()]


def _any_symmetry(images: Tensor) -> Tensor:
    return apply_symmetry(images, int(torch.randint(SYMMETRIES, ())))


def _batch(images: Tensor) -> Batch:
    unknown = torch.full((len(images),), -1)
    return Batch(images, torch.full((len(images),), torch.nan), unknown).to(_CPU)
