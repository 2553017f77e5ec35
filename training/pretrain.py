"""Pretrain an anchor on the simulated sky: draw, observe, train, save.

The images are drawn once into ``work/`` of the output folder; every epoch ends with a checkpoint
there. A run that was stopped goes on after its last epoch and ends with the same weights.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from tqdm import tqdm

from catalogs.scenes import ScenePool
from catalogs.simulate import CHUNK, View, sky_chunks
from catalogs.splits import sky_split
from galaxy_da.cutouts import Cutout
from galaxy_da.errors import TableError
from galaxy_da.files import ensure_folder, json_hash, write_json
from galaxy_da.images import Frame, prepare
from galaxy_da.models import VariationalAutoencoder
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey, get_survey
from training.checkpoints import load_checkpoint, save_checkpoint
from training.fabric import make_fabric
from training.objectives import kl_divergence, negative_elbo
from training.recipes import Optimiser, Recipe
from training.symmetry import SYMMETRIES, turn

__all__ = ["pretrain"]

_CHECKPOINT = "checkpoint.safetensors"
_HELD_OUT = 2048
"""Validation images that watch the training; the test part of the sky is never used."""
_ACTIVE_KL = 0.1
"""Mean divergence above which a latent counts as used [nat]."""


def pretrain(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    scenes: Path | None = None,
    progress: bool = False,
) -> LatentSpace:
    """Train an anchor and save its space.

    Parameters
    ----------
    recipe : Recipe
        Everything that decides the result.
    out : path
        Folder of the space. ``work/`` in it holds what resuming needs and goes at the end.
    scenes : Path, optional
        Sample table of real images for the recipe's ``scene_share``.
    progress : bool
        Show progress bars on stderr.

    Returns
    -------
    LatentSpace
        Its metrics are those of the validation part of the sky.

    Raises
    ------
    TableError
        If ``work/`` holds another recipe's run.
    StorageError
        If the output cannot be written.
    """
    folder = ensure_folder(out)
    work = ensure_folder(folder / "work")
    _claim(work, recipe, scenes)
    survey = get_survey(recipe.survey)
    images, part = _draw(recipe, survey, scenes, work, progress)
    torch.manual_seed(recipe.seed)
    model = VariationalAutoencoder(recipe.architecture)
    curves = _train(recipe, model, images, part, work, progress)
    held = _as_tensor(images, np.flatnonzero(part == "validation")[:_HELD_OUT])
    space = LatentSpace(
        architecture=recipe.architecture,
        frame=recipe.frame,
        anchor=survey.name,
        encoders={
            survey.name: SurveyEncoder(
                survey=survey, bands=recipe.frame.bands, network=model.encoder
            )
        },
        decoder=model.decoder,
        training={
            "recipe": recipe.model_dump(mode="json"),
            "scenes": scenes.name if scenes else None,
            "images": int((part != "test").sum() - len(held)),
            "curves": curves,
        },
    )
    space.metrics = _metrics(space, held)
    space.save(folder)
    shutil.rmtree(work)
    return space


def _claim(work: Path, recipe: Recipe, scenes: Path | None) -> None:
    """Refuse to continue another recipe's run."""
    identity = json_hash([recipe.model_dump(mode="json"), scenes.name if scenes else None])
    marker = work / "recipe.json"
    if marker.is_file() and identity not in marker.read_text(encoding="utf-8"):
        raise TableError(
            f"{work}: holds an unfinished run of another recipe; delete it or choose another --out"
        )
    write_json(marker, {"hash": identity, **recipe.model_dump(mode="json")})


def _draw(
    recipe: Recipe, survey: Survey, scenes: Path | None, work: Path, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Draw and prepare the training sky; (n, bands, y, x) float16 memory map and sky parts."""
    path, finished = work / "images.npy", work / "parts.npy"
    n, side = recipe.sky.galaxies, recipe.frame.pixels
    if not finished.is_file():
        shape = (n, len(recipe.frame.bands), side, side)
        images = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        parts = []
        row = 0
        with tqdm(total=n, desc="draw", unit="img", disable=not progress) as bar:
            for truth, view in _sky(recipe, survey, scenes):
                drawn = _prepared(view, recipe.frame)[: n - row]
                images[row : row + len(drawn)] = drawn.numpy()
                ra, dec = (np.asarray(truth[name])[: len(drawn)] for name in ("ra", "dec"))
                parts.append(sky_split(ra, dec))
                row += len(drawn)
                bar.update(len(drawn))
        images.flush()
        np.save(finished, np.concatenate(parts))
    return np.load(path, mmap_mode="r"), np.load(finished)


def _sky(recipe: Recipe, survey: Survey, scenes: Path | None) -> Iterator[tuple[pa.Table, View]]:
    """Chunks of drawn galaxies and of real ones in the recipe's proportion, enough of both."""
    share = recipe.sky.scene_share if scenes else 0.0
    drawn = sky_chunks([survey], seed=recipe.seed)
    real = sky_chunks([survey], seed=recipe.seed, pool=ScenePool.open(scenes)) if scenes else drawn
    for number in range(-(-recipe.sky.galaxies // CHUNK)):
        is_real = int((number + 1) * share) > int(number * share)
        chunk = next(real if is_real else drawn)
        yield chunk.truth, chunk.views[survey.name]


def _prepared(view: View, frame: Frame) -> Tensor:
    """Prepare what a survey saw, artefacts and all."""
    middle = (view.flux.shape[-1] - 1) / 2
    cutouts = [
        Cutout(
            pixels=pixels,
            bands=tuple(band.name for band in view.bands),
            pixel_scale_arcsec=view.survey.pixel_scale_arcsec,
            centre_xy=(middle, middle),
        )
        for pixels in view.flux.numpy()
    ]
    return prepare(cutouts, view.survey, frame, frame.bands).images


def _train(
    recipe: Recipe,
    model: VariationalAutoencoder,
    images: np.ndarray,
    part: np.ndarray,
    work: Path,
    progress: bool,
) -> list[dict[str, float]]:
    """Train in place, one checkpoint an epoch; return the learning curves."""
    held_rows = np.flatnonzero(part == "validation")[:_HELD_OUT]
    rows = np.setdiff1d(np.flatnonzero(part != "test"), held_rows)
    held = _as_tensor(images, held_rows)
    settings = recipe.optimiser
    per_epoch = len(rows) // settings.batch
    if not per_epoch or not len(held):
        raise TableError(
            f"{len(rows)} training and {len(held)} validation galaxies are too few for batches of "
            f"{settings.batch}; raise sky.galaxies in the recipe"
        )
    fabric = make_fabric()
    model.to(memory_format=torch.channels_last)
    plain_optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    curves: list[dict[str, float]] = []
    if (work / _CHECKPOINT).is_file():
        curves = load_checkpoint(work / _CHECKPOINT, model, plain_optimiser)["curves"]
    wrapped, optimiser = fabric.setup(model, plain_optimiser)
    for epoch in range(len(curves), settings.epochs):
        torch.manual_seed(recipe.seed * 1000 + epoch)
        sums: dict[str, float] = {}
        batches = _batches(images, rows, settings.batch, recipe.seed * 1000 + epoch)
        for i, batch in enumerate(
            tqdm(batches, total=per_epoch, desc=f"epoch {epoch + 1}", disable=not progress)
        ):
            _set_rate(optimiser, epoch * per_epoch + i, settings.epochs * per_epoch, settings)
            batch = batch.to(fabric.device, memory_format=torch.channels_last)
            posterior, decoded = wrapped(batch)
            loss, terms = negative_elbo(
                batch,
                decoded,
                posterior,
                noise=recipe.objective.noise,
                beta=recipe.objective.beta,
            )
            fabric.backward(loss)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach()) / per_epoch
        curves.append({"epoch": epoch + 1, **sums, "held_out": _held_out(model, held)})
        save_checkpoint(work / _CHECKPOINT, model, plain_optimiser, {"curves": curves})
    model.cpu()
    return curves


def _batches(images: np.ndarray, rows: np.ndarray, size: int, seed: int) -> Iterator[Tensor]:
    """Shuffled batches of one epoch, each in a random symmetry."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(rows)
    for i in range(0, len(order) - size + 1, size):
        yield turn(_as_tensor(images, order[i : i + size]), int(rng.integers(SYMMETRIES)))


def _as_tensor(images: np.ndarray, rows: np.ndarray) -> Tensor:
    return torch.from_numpy(images[rows].astype(np.float32))


def _set_rate(optimiser: torch.optim.Optimizer, step: int, steps: int, settings: Optimiser) -> None:
    """Linear warm-up, then cosine decay to zero."""
    warm = min(1.0, (step + 1) / max(settings.warmup_steps, 1))
    decay = 0.5 * (1 + np.cos(np.pi * step / steps))
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * warm * decay


@torch.no_grad()
def _held_out(model: VariationalAutoencoder, held: Tensor) -> float:
    """Mean squared error of the decoded posterior mean."""
    device = next(model.parameters()).device
    errors = [
        (model.decoder(model.encoder(batch.to(device)).mean) - batch.to(device)).square().mean()
        for batch in torch.split(held, 256)
    ]
    return float(torch.stack(errors).mean())


def _metrics(space: LatentSpace, held: Tensor) -> dict[str, float]:
    """Reconstruction and use of the latents on the validation part of the sky."""
    posterior = space.encode(held, space.anchor, precision="fp32")
    kl = kl_divergence(posterior).mean(0)
    decoded = space.decode(posterior.mean, precision="fp32")
    return {
        "validation_images": len(held),
        "reconstruction": float((decoded - held).square().mean()),
        "kl_nat": float(kl.sum()),
        "active_latents": int((kl > _ACTIVE_KL).sum()),
    }
