"""Pretrain an anchor: draw or read images, train, save.

The images are prepared once into ``work/`` of the output folder; every epoch ends with a checkpoint
there. A run that was stopped goes on after its last epoch and ends with the same weights, also with
another number of processes (`training.parallel.processes`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from galaxy_da.errors import TableError
from galaxy_da.io.files import ensure_folder, json_hash, write_json
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import Location
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import get_survey
from training.checkpoints import load_best, load_checkpoint, save_checkpoint
from training.losses import PerceptualDistance
from training.parallel.fabric import make_fabric
from training.parallel.processes import Share, agreed, check_process_group, is_first, wait
from training.pretraining.conditional import ConditionalAutoencoder, save_conditional
from training.pretraining.image_source import TrainingImages, draw_sky, read_sample
from training.pretraining.learner import Batch, Learner, loss_of
from training.pretraining.recipe import Optimiser, Recipe
from training.pretraining.validation import validation_metrics

__all__ = ["pretrain", "train"]

_CHECKPOINT = "checkpoint.safetensors"
_HELD_OUT = 2048
"""Validation images that watch the training; the test part of the sky is never used."""


def pretrain(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    sample: Sample | None = None,
    scenes: Location | None = None,
    images: Path | None = None,
    devices: int = 1,
    progress: bool = False,
) -> LatentSpace:
    """Train an anchor and save its space.

    Parameters
    ----------
    recipe : Recipe
        Everything that decides the result.
    out : path
        Folder of the space. ``work/`` in it holds what resuming needs and goes at the end.
    sample : Sample, optional
        Images to train on; by default the recipe's simulated sky.
    scenes : Path, optional
        Sample table of real images for the recipe's ``scene_share`` of a simulated sky.
    images : Path, optional
        Folder to prepare the images in, or to find them in as another run of the same images left
        them; it stays. By default ``work/``.
    devices : int
        GPUs, or processes where there is none, that share each batch; see
        `training.parallel.fabric.make_fabric`.
    progress : bool
        Show progress bars on stderr, of the first process.

    Returns
    -------
    LatentSpace
        Its metrics are those of the validation part of the sky. With a condition, it is the network
        at the median redshift; the whole one lies beside it (`training.pretraining.conditional`).

    Raises
    ------
    ValueError
        If both a sample and scenes are given.
    TableError
        If ``work/`` holds another run or `images` others, or the sample does not suit the recipe.
    StorageError
        If the output cannot be written.
    """
    if sample is not None and scenes is not None:
        raise ValueError("give sample or scenes, not both: scenes are for the simulated sky")
    folder = ensure_folder(out)
    work = ensure_folder(folder / "work")
    survey = get_survey(recipe.survey)
    fabric = make_fabric(devices)
    store = work if images is None else ensure_folder(images)
    progress = progress and is_first()
    if is_first():
        source = sample.path if sample else scenes
        _claim(work, "recipe.json", recipe.model_dump(mode="json"), source)
        _claim(store, "images.json", _what_is_seen(recipe), source)
    if not agreed(TrainingImages.finished(store)):
        if sample is None:
            draw_sky(recipe, survey, scenes, store, progress)
        else:
            read_sample(recipe, survey, sample, store, progress)
    data = TrainingImages.open(store)
    rows, held_rows = _parts(recipe, data)
    learner, curves = train(recipe, data, rows, held_rows, work, fabric, progress)
    redshift = data.redshift[rows]
    middle = float(np.median(redshift)) if recipe.condition else float("nan")
    plain = learner.plain(middle)
    space = LatentSpace(
        architecture=recipe.architecture,
        frame=recipe.frame,
        anchor=survey.name,
        encoders={
            survey.name: SurveyEncoder(
                survey=survey, bands=recipe.frame.bands, network=plain.encoder
            )
        },
        decoder=plain.decoder,
        training={
            "recipe": recipe.model_dump(mode="json"),
            "sample": sample.path.name if sample else None,
            "scenes": scenes.name if scenes else None,
            "images": len(rows),
            "curves": curves,
            **({"redshift": middle, "classes": data.classes} if recipe.condition else {}),
        },
    )
    if is_first():
        space.metrics = validation_metrics(space, _batch(data, held_rows, 1).images)
    space.metrics = agreed(space.metrics)
    del data  # closes the files, without which a network file system keeps their folder
    wait()
    if is_first():
        if isinstance(learner, ConditionalAutoencoder):
            save_conditional(learner, folder)
        space.save(folder)
        shutil.rmtree(work)
    wait()
    return space


def _claim(folder: Path, name: str, settings: dict[str, Any], source: Location | None) -> None:
    """Mark a folder as that of a run, or refuse where it is another's."""
    identity = json_hash([settings, source.name if source else None])
    marker = folder / name
    if marker.is_file() and identity not in marker.read_text(encoding="utf-8"):
        raise TableError(
            f"{folder}: holds the run of another recipe or sample; delete it or choose another "
            "--out"
        )
    write_json(marker, {"hash": identity, **settings})


def _what_is_seen(recipe: Recipe) -> dict[str, Any]:
    """Return what of a recipe decides the prepared images."""
    settings = recipe.model_dump(mode="json", include={"survey", "seed", "sky", "frame"})
    return {
        **settings,
        "observations": recipe.observations,
        "class_column": recipe.objective.class_column,
    }


def _parts(recipe: Recipe, data: TrainingImages) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and rows of the validation part of the sky that watch."""
    usable = np.isfinite(data.redshift) if recipe.condition else np.ones(len(data.part), bool)
    rows = np.flatnonzero(usable & (data.part == "train"))
    held = np.flatnonzero(usable & (data.part == "validation"))[:_HELD_OUT]
    if len(rows) < recipe.optimiser.batch // recipe.observations or not len(held):
        raise TableError(
            f"{len(rows)} training and {len(held)} validation galaxies are too few for batches of "
            f"{recipe.optimiser.batch}; give more images, raise sky.galaxies in the recipe, or "
            "lower optimiser.batch"
        )
    share = Share.of(recipe.optimiser.batch // recipe.observations)
    if share.rows < share.processes:
        raise TableError(
            f"batches of {share.rows} galaxies cannot be shared by {share.processes} processes; "
            "start fewer, or raise optimiser.batch"
        )
    return rows, held


def _learner(recipe: Recipe, data: TrainingImages, rows: np.ndarray) -> Learner:
    """Make the network, with weights by the recipe's seed."""
    torch.manual_seed(recipe.seed)
    classes = len(data.classes) if recipe.objective.classes else 0
    if recipe.condition is None:
        return Learner(recipe.architecture, classes)
    redshift = data.redshift[rows]
    return ConditionalAutoencoder(
        recipe.architecture,
        recipe.condition,
        centre=float(redshift.mean()),
        spread=float(redshift.std()),
        classes=classes,
    )


def train(
    recipe: Recipe,
    data: TrainingImages,
    rows: np.ndarray,
    held_rows: np.ndarray,
    work: Path,
    fabric: Fabric,
    progress: bool,
) -> tuple[Learner, list[dict[str, float]]]:
    """Train on prepared images, one checkpoint an epoch, going on after the last there is.

    Parameters
    ----------
    recipe : Recipe
    data : TrainingImages
    rows, held_rows : (n,), (m,) int array
        Rows of `data` to train on, and to watch.
    work : Path
        Folder of the checkpoint, the same for all processes.
    fabric : Fabric
        Device, precision and how many share a batch.
    progress : bool
        Show a bar an epoch on stderr.

    Returns
    -------
    learner : Learner
        On the CPU; at its best epoch where the recipe has patience.
    curves : list of dict
        ``epoch``, the mean of each term and ``held_out``, the error on `held_rows`, by epoch.

    Raises
    ------
    StorageError
        If the checkpoint is of another recipe, or not every process sees it.
    """
    settings, objective = recipe.optimiser, recipe.objective
    learner = _learner(recipe, data, rows)
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
    perceptual = None
    if objective.perceptual:
        perceptual = PerceptualDistance(objective.perceptual_weights).to(fabric.device)
    share, watched = Share.of(settings.batch // recipe.observations), Share.of(len(held_rows))
    held = _batch(data, held_rows[watched.own], 1)
    per_epoch = len(rows) // share.rows
    while len(curves) < settings.epochs and not _is_stale(curves, settings.patience):
        epoch = len(curves)
        seed = recipe.seed * 1000 + epoch
        torch.manual_seed(seed)
        sums: dict[str, float] = {}
        batches = _batches(recipe, data, rows, seed, share)
        shown = tqdm(batches, total=per_epoch, desc=f"epoch {epoch + 1}", disable=not progress)
        for i, batch in enumerate(shown):
            _set_rate(optimiser, epoch * per_epoch + i, settings.epochs * per_epoch, settings)
            done = epoch + i / per_epoch
            loss, terms = loss_of(
                recipe, learner, forward, batch.to(fabric.device), done, perceptual, share
            )
            fabric.backward(loss)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach()) / per_epoch
        held_out = agreed(_held_out(learner, held, watched))
        curves.append({"epoch": epoch + 1, **sums, "held_out": held_out})
        if settings.patience and not _epochs_since_best(curves):
            best = {name: value.clone() for name, value in learner.state_dict().items()}
        if is_first():
            record = {"curves": curves}
            save_checkpoint(work / _CHECKPOINT, learner, plain_optimiser, record, best)
    if best is not None:
        learner.load_state_dict(best)
    return learner.cpu(), curves


def _is_stale(curves: list[dict[str, float]], patience: int) -> bool:
    return bool(patience) and _epochs_since_best(curves) >= patience


def _epochs_since_best(curves: list[dict[str, float]]) -> int:
    errors = [row["held_out"] for row in curves]
    return len(errors) - 1 - int(np.argmin(errors)) if errors else 0


def _batches(
    recipe: Recipe, data: TrainingImages, rows: np.ndarray, seed: int, share: Share
) -> Iterator[Batch]:
    """Shuffled batches of one epoch, first looks before second ones, in random symmetries.

    Every process draws the same order and reads its share of each batch.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(rows)
    for i in range(0, len(order) - share.rows + 1, share.rows):
        batch = _batch(data, order[i : i + share.rows][share.own], recipe.observations)
        observations = [
            apply_symmetry(observation, int(rng.integers(SYMMETRIES)))
            for observation in batch.images.chunk(recipe.observations)
        ]
        yield batch._replace(images=torch.cat(observations))


def _batch(data: TrainingImages, rows: np.ndarray, observations: int) -> Batch:
    """Read galaxies: all their first looks, then, of two, all their second ones."""
    images = torch.from_numpy(data.read(rows, observations))
    return Batch(
        torch.cat(images.unbind(1)),
        torch.from_numpy(data.redshift[rows]).repeat(observations),
        torch.from_numpy(data.labels[rows]).repeat(observations),
    )


def _set_rate(optimiser: torch.optim.Optimizer, step: int, steps: int, settings: Optimiser) -> None:
    """Linear warm-up of at most a quarter of all steps, then cosine decay to zero."""
    warm = min(1.0, (step + 1) / max(min(settings.warmup_steps, steps // 4), 1))
    decay = 0.5 * (1 + np.cos(np.pi * step / steps))
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * warm * decay


@torch.no_grad()
def _held_out(learner: Learner, held: Batch, share: Share) -> float:
    """Mean squared error of the decoded posterior mean, of all processes' images."""
    device = next(learner.parameters()).device
    errors = []
    for parts in zip(*(torch.split(part, 256) for part in held), strict=True):
        batch = Batch(*(part.to(device) for part in parts))
        errors.append((learner.reconstruct(batch) - batch.images).square().mean((1, 2, 3)))
    joined = torch.cat(errors)
    return float(share.mean(joined.mean(), len(joined)))
