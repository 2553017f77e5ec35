"""Training loop of pretraining, with one checkpoint per epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry
from training.checkpoints import load_best, load_checkpoint, save_checkpoint
from training.parallel.processes import Share, agreed, check_process_group, is_first
from training.pretraining.conditional import ConditionalAutoencoder
from training.pretraining.learner import Batch, Learner, loss_of
from training.pretraining.prepared_images import TrainingImages
from training.pretraining.recipe import Optimiser, Recipe

_CHECKPOINT = "checkpoint.safetensors"


class SplitRows(NamedTuple):
    """Rows of the prepared images to train on, and rows that monitor the training."""

    training: np.ndarray
    held_out: np.ndarray


def train(
    recipe: Recipe,
    data: TrainingImages,
    rows: SplitRows,
    work: Path,
    fabric: Fabric,
    progress: bool = False,
) -> tuple[Learner, list[dict[str, float]]]:
    """Train on prepared images; continue after the checkpoint in `work`, if there is one.

    Returns the learner on the CPU, at its best epoch if the recipe has patience, and for each epoch
    ``epoch``, the mean of each term, and ``held_out``, the mean squared error of held-out images.
    """
    settings = recipe.optimiser
    learner = _learner(recipe, data, rows.training)
    learner.to(memory_format=torch.channels_last)
    plain_optimiser = torch.optim.AdamW(
        learner.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    curves: list[dict[str, float]] = []
    best = None
    if (work / _CHECKPOINT).is_file():
        curves = load_checkpoint(work / _CHECKPOINT, learner, plain_optimiser)["curves"]
        best = load_best(work / _CHECKPOINT) or None
    check_process_group(work / _CHECKPOINT, len(curves))
    forward, optimiser = fabric.setup(learner, plain_optimiser)
    share = Share.of(settings.batch)
    held_share = Share.of(len(rows.held_out))
    held = read_batch(data, rows.held_out[held_share.own])
    per_epoch = len(rows.training) // share.rows
    patience = settings.patience or settings.epochs
    while len(curves) < settings.epochs and _epochs_since_best(curves) < patience:
        epoch = len(curves)
        seed = recipe.seed * 1000 + epoch
        torch.manual_seed(seed)
        sums: dict[str, float] = {}
        batches = _batches(data, rows.training, seed, share)
        bar = tqdm(batches, total=per_epoch, desc=f"epoch {epoch + 1}", disable=not progress)
        for i, batch in enumerate(bar):
            _set_rate(optimiser, epoch * per_epoch + i, settings.epochs * per_epoch, settings)
            done = epoch + i / per_epoch
            loss, terms = loss_of(recipe, learner, forward, batch.to(fabric.device), done, share)
            fabric.backward(loss)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach()) / per_epoch
        held_out = agreed(_held_out_error(learner, held, held_share))
        curves.append({"epoch": epoch + 1, **sums, "held_out": held_out})
        if settings.patience and not _epochs_since_best(curves):
            best = {name: value.clone() for name, value in learner.state_dict().items()}
        if is_first():
            save_checkpoint(work / _CHECKPOINT, learner, plain_optimiser, {"curves": curves}, best)
    if best is not None:
        learner.load_state_dict(best)
    return learner.cpu(), curves


def read_batch(data: TrainingImages, rows: np.ndarray) -> Batch:
    """Read the images of some galaxies, with redshifts and classes."""
    return Batch(
        torch.from_numpy(data.read(rows)),
        torch.from_numpy(data.redshift[rows]),
        torch.from_numpy(data.labels[rows]),
    )


def _learner(recipe: Recipe, data: TrainingImages, rows: np.ndarray) -> Learner:
    torch.manual_seed(recipe.seed)
    classes = len(data.classes) if recipe.objective.classes else 0
    if recipe.condition is None:
        return Learner(recipe.architecture, classes)
    z = data.redshift[rows]
    centre, spread = float(z.mean()), float(z.std())
    return ConditionalAutoencoder(
        recipe.architecture, recipe.condition, centre=centre, spread=spread, classes=classes
    )


def _epochs_since_best(curves: list[dict[str, float]]) -> int:
    errors = [row["held_out"] for row in curves]
    return len(errors) - 1 - int(np.argmin(errors)) if errors else 0


def _batches(data: TrainingImages, rows: np.ndarray, seed: int, share: Share) -> Iterator[Batch]:
    """Yield the shuffled batches of one epoch, each in a random symmetry.

    Every process draws the same order and reads its share of each batch.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(rows)
    for i in range(0, len(order) - share.rows + 1, share.rows):
        batch = read_batch(data, order[i : i + share.rows][share.own])
        yield batch._replace(images=apply_symmetry(batch.images, int(rng.integers(SYMMETRIES))))


def _set_rate(optimiser: torch.optim.Optimizer, step: int, steps: int, settings: Optimiser) -> None:
    """Set a linear warm-up of at most a quarter of all steps, then cosine decay to zero."""
    warm = min(1.0, (step + 1) / max(min(settings.warmup_steps, steps // 4), 1))
    decay = 0.5 * (1 + np.cos(np.pi * step / steps))
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * warm * decay


@torch.no_grad()
def _held_out_error(learner: Learner, held: Batch, share: Share) -> float:
    """Mean squared error of the decoded posterior mean, over all processes' images."""
    device = next(learner.parameters()).device
    errors = []
    for parts in zip(*(torch.split(part, 256) for part in held), strict=True):
        batch = Batch(*(part.to(device) for part in parts))
        errors.append((learner.reconstruct(batch) - batch.images).square().mean((1, 2, 3)))
    joined = torch.cat(errors)
    return float(share.mean(joined.mean(), len(joined)))
