"""Train an anchor and save its space; an interrupted run continues after its last checkpoint."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from catalogs.splits import SkySplit
from galaxy_da.errors import TableError
from galaxy_da.io.files import ensure_folder, json_hash, write_json
from galaxy_da.io.storage import Location
from galaxy_da.models.devices import autocast, best_device
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry
from galaxy_da.space import LatentSpace, SpaceParts, SurveyEncoder
from galaxy_da.surveys import get_survey
from training.anchor import images
from training.anchor.augment import Augmentation, hard_batches
from training.anchor.images import TrainingSky
from training.anchor.learner import AnchorLearner, Views, loss_of
from training.anchor.recipe import AnchorRecipe
from training.anchor.sky import draw_sky
from training.checkpoints import load_checkpoint, save_checkpoint

_CHECKPOINT = "checkpoint.safetensors"
_SAVE_SECONDS = 240
_CURVE_STEPS = 100
_BLOCKS, _PASSES = 8, 3  # of the sky that are used together, and how often


def train_anchor(
    recipe: AnchorRecipe,
    out: Path,
    *,
    scenes: Sequence[Location] = (),
    sky: Path | None = None,
    start: LatentSpace | None = None,
    processes: int = 1,
    progress: bool = False,
) -> LatentSpace:
    """Draw the sky of a recipe, train the networks, and save the space.

    Parameters
    ----------
    recipe : AnchorRecipe
        All settings that decide the result.
    out : path
        Folder of the space. Its subfolder ``work/`` holds the state of an unfinished run and is
        deleted at the end.
    scenes : sequence of path
        Sample tables of real images.
    sky : path, optional
        Folder that keeps the drawn sky; by default it lies in ``work/``.
    start : LatentSpace, optional
        Start from its networks instead of random weights.
    processes : int
        Processes that draw the sky.
    progress : bool
        Show progress bars on stderr.

    Raises
    ------
    TableError
        If the sky's folder holds another sky, or ``work/`` another run, or if the networks of
        `start` are not those of the recipe.
    StorageError
        If the output cannot be written.
    """
    work = ensure_folder(Path(out) / "work")
    folder = ensure_folder(sky or work / "sky")
    identity = recipe.model_dump(mode="json")
    names = [Path(str(path)).name for path in scenes]
    begun = {"start": start.id} if start else {}
    _claim(work, {**identity, "scenes": names, **begun})
    drawn = {key: identity[key] for key in ("survey", "seed", "layers", "frame")}
    _claim(folder, {**drawn, "scenes": names})
    data = draw_sky(recipe, scenes, folder, processes=processes, progress=progress)
    learner, curves = _train(recipe, data, work, start, progress)
    survey = get_survey(recipe.survey)
    encoder = SurveyEncoder(survey=survey, bands=recipe.frame.bands, network=learner.encoder)
    space = LatentSpace(
        SpaceParts(
            architecture=recipe.architecture,
            frame=recipe.frame,
            anchor=survey.name,
            encoders={survey.name: encoder},
            decoder=learner.decoder,
            training={
                "recipe": identity,
                "scenes": names,
                **begun,
                "images": len(data),
                "split": SkySplit().as_record(),
                "curves": curves,
            },
        )
    )
    space.save(out)
    shutil.rmtree(work)
    return space


def _claim(folder: Path, settings: dict[str, object]) -> None:
    """Mark a folder with the settings of what it holds, or refuse other settings."""
    marker, identity = folder / "settings.json", json_hash(settings)
    if marker.is_file() and identity not in marker.read_text(encoding="utf-8"):
        raise TableError(f"{folder}: holds the work of other settings; delete it or choose another")
    write_json(marker, {"hash": identity, **settings})


def _train(
    recipe: AnchorRecipe,
    data: TrainingSky,
    work: Path,
    start: LatentSpace | None,
    progress: bool,
) -> tuple[AnchorLearner, list[dict[str, float]]]:
    schedule, device = recipe.schedule, best_device()
    torch.manual_seed(recipe.seed)
    learner = AnchorLearner(recipe)
    if start:
        learner.continue_from(start)
    learner = learner.to(device)
    learner.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        learner.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    curves: list[dict[str, float]] = []
    first = 0
    if (work / _CHECKPOINT).is_file():
        record = load_checkpoint(work / _CHECKPOINT, learner, optimiser)
        curves, first = record["curves"], record["step"]
    saved = time.monotonic()
    sums: dict[str, float] = {}
    bar = tqdm(total=schedule.steps, initial=first, desc="train", disable=not progress)
    for step, views in enumerate(_batches(recipe, data, first), start=first):
        torch.manual_seed(recipe.seed * 10**6 + step)
        _set_rate(optimiser, step, recipe)
        views = views.to(device)
        with autocast(device, "auto"):
            loss, terms = loss_of(learner, views, recipe)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 5.0)
        optimiser.step()
        bar.update()
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + float(term.detach())
        if (step + 1) % _CURVE_STEPS == 0:
            curves.append({"step": step + 1, **{k: v / _CURVE_STEPS for k, v in sums.items()}})
            bar.set_postfix({k: f"{v / _CURVE_STEPS:.3f}" for k, v in sums.items()})
            sums = {}
            if time.monotonic() - saved > _SAVE_SECONDS or step + 1 == schedule.steps:
                record = {"curves": curves, "step": step + 1}
                save_checkpoint(work / _CHECKPOINT, learner, optimiser, record)
                saved = time.monotonic()
    bar.close()
    return learner.cpu().eval(), curves


def _batches(recipe: AnchorRecipe, data: TrainingSky, first: int) -> Iterator[Views]:
    """Yield the batches from step `first` on.

    A few blocks are used several times before others, so that a sky may be larger than the memory.
    """
    schedule = recipe.schedule
    magnitude = data.truth["r_mag"].to_numpy()
    rng = np.random.default_rng(recipe.seed)
    step = 0
    while step < schedule.steps:
        chosen = rng.choice(len(data.blocks), min(_BLOCKS, len(data.blocks)), replace=False)
        members = np.flatnonzero(np.isin(np.arange(len(data)) // images.BLOCK, chosen))
        for _ in range(_PASSES):
            batches = hard_batches(magnitude[members], schedule.batch, schedule.hard_share, rng)
            for rows in batches:
                symmetry, other = rng.integers(SYMMETRIES, size=2)
                if first <= step < schedule.steps:
                    seed = recipe.seed * 10**9 + step
                    yield _views(recipe, data, members[rows], (int(symmetry), int(other)), seed)
                step += 1


def _views(
    recipe: AnchorRecipe,
    data: TrainingSky,
    rows: np.ndarray,
    symmetries: tuple[int, int],
    seed: int,
) -> Views:
    aligned, rotated, clean = data.read(rows, recipe.schedule.decoded)
    aligned = apply_symmetry(aligned, symmetries[0])
    observed = torch.cat([*aligned.unbind(1), apply_symmetry(rotated, symmetries[1])])
    conditions = torch.cat(data.conditions[rows].unbind(1))
    n = len(rows)
    augment = Augmentation(recipe.frame, recipe.jitter, seed)
    return Views(
        augment(observed, conditions, torch.arange(3 * n) >= n),
        apply_symmetry(clean, symmetries[0]),
        data.targets[rows],
    )


def _set_rate(optimiser: torch.optim.Optimizer, step: int, recipe: AnchorRecipe) -> None:
    schedule = recipe.schedule
    warm = min(1.0, (step + 1) / max(schedule.warmup_steps, 1))
    decay = 0.5 * (1 + np.cos(np.pi * step / schedule.steps))
    for group in optimiser.param_groups:
        group["lr"] = schedule.learning_rate * warm * decay
