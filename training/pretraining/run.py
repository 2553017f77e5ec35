"""Pretraining of an anchor space from a recipe.

The images are prepared once into ``work/`` of the output folder. Every epoch ends with a checkpoint
there. An interrupted run continues after its last epoch and ends with the same weights, also with
another number of processes (`training.parallel.processes`).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from galaxy_da.errors import TableError
from galaxy_da.images.inputs import Inputs
from galaxy_da.io.files import ensure_folder, json_hash, write_json
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import Location
from galaxy_da.space import LatentSpace, SpaceParts, SurveyEncoder
from galaxy_da.surveys import find_survey
from training.parallel.fabric import make_fabric
from training.parallel.processes import Share, agreed, is_first, wait
from training.pretraining.conditional import ConditionalAutoencoder, save_conditional
from training.pretraining.image_source import draw_sky, read_sample
from training.pretraining.loop import SplitRows, read_batch, train
from training.pretraining.prepared_images import TrainingImages
from training.pretraining.recipe import Recipe
from training.pretraining.validation import validation_metrics

_HELD_OUT = 2048
"""Most validation images that monitor the training; the test part of the sky is never used."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run that do not change its result."""

    devices: int = 1  # GPUs, or processes on the CPU, that share each batch (`make_fabric`)
    images: Path | None = None  # folder that keeps the prepared images for further runs
    progress: bool = False  # show progress bars of the first process on stderr


def pretrain(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    sample: Sample | None = None,
    options: RunOptions | None = None,
) -> LatentSpace:
    """Train an anchor and save its space, with metrics of the validation part of the sky.

    Parameters
    ----------
    recipe : Recipe
        All settings that decide the result.
    out : path
        Folder of the space. Its subfolder ``work/`` holds the state of an unfinished run and is
        deleted at the end. With a condition, the space holds the network at the median redshift,
        and the folder also the whole network (`training.pretraining.conditional`).
    sample : Sample, optional
        Images to train on; by default the recipe's simulated sky.
    options : RunOptions, optional
        Processes, folder of prepared images, progress bars.

    Raises
    ------
    TableError
        If ``work/`` holds another run, the image folder holds other images, or the sample does not
        suit the recipe.
    StorageError
        If the output cannot be written.
    """
    options = options or RunOptions()
    folder = ensure_folder(out)
    work = ensure_folder(folder / "work")
    fabric = make_fabric(options.devices)
    progress = options.progress and is_first()
    data = _prepared(recipe, sample, work, options)
    rows = _split(recipe, data)
    learner, curves = train(recipe, data, rows, work, fabric, progress)
    redshift = data.redshift[rows.training]
    middle = float(np.median(redshift)) if recipe.condition else float("nan")
    plain = learner.plain(middle)
    survey = find_survey(recipe.survey)
    encoder = SurveyEncoder(survey=survey, bands=recipe.frame.bands, network=plain.encoder)
    parts = SpaceParts(
        architecture=recipe.architecture,
        frame=recipe.frame,
        anchor=survey.name,
        encoders={survey.name: encoder},
        decoder=plain.decoder,
        training={
            "recipe": recipe.model_dump(mode="json"),
            "sample": sample.path.name if sample else None,
            "images": len(rows.training),
            "split": data.split.as_record(),
            "curves": curves,
            **({"redshift": middle, "classes": data.classes} if recipe.condition else {}),
        },
    )
    space, metrics = LatentSpace(parts), {}
    if is_first():
        metrics = validation_metrics(space, Inputs.plain(read_batch(data, rows.held_out).images))
    space = space.with_metrics(agreed(metrics))
    del data  # closes the files; a network file system keeps the folder of open ones
    wait()
    if is_first():
        if isinstance(learner, ConditionalAutoencoder):
            save_conditional(learner, folder)
        space.save(folder)
        shutil.rmtree(work)
    wait()
    return space


def _prepared(
    recipe: Recipe, sample: Sample | None, work: Path, options: RunOptions
) -> TrainingImages:
    """Prepare the images, unless an earlier run of the same settings did."""
    survey = find_survey(recipe.survey)
    store = work if options.images is None else ensure_folder(options.images)
    progress = options.progress and is_first()
    if is_first():
        source = sample.path if sample else None
        _claim(work, "recipe.json", recipe.model_dump(mode="json"), source)
        decisive = recipe.model_dump(mode="json", include={"survey", "seed", "sky", "frame"})
        decisive["class_column"] = recipe.objective.class_column
        _claim(store, "images.json", decisive, source)
    if not agreed(TrainingImages.finished(store)):
        if sample is None:
            draw_sky(recipe, survey, store, progress)
        else:
            read_sample(recipe, survey, sample, store, progress)
    return TrainingImages.open(store)


def _claim(folder: Path, name: str, settings: dict[str, Any], source: Location | None) -> None:
    """Mark a folder with the settings of a run, or refuse if it has those of another run."""
    identity = json_hash([settings, source.name if source else None])
    marker = folder / name
    if marker.is_file() and identity not in marker.read_text(encoding="utf-8"):
        raise TableError(
            f"{folder}: holds the run of another recipe or sample; delete it or choose another "
            "--out"
        )
    write_json(marker, {"hash": identity, **settings})


def _split(recipe: Recipe, data: TrainingImages) -> SplitRows:
    """Return rows to train on, and rows of the validation part of the sky."""
    usable = np.isfinite(data.redshift) if recipe.condition else np.ones(len(data.part), bool)
    rows = np.flatnonzero(usable & (data.part == "train"))
    held = np.flatnonzero(usable & (data.part == "validation"))[:_HELD_OUT]
    share = Share.of(recipe.optimiser.batch)
    if len(rows) < share.rows or not len(held):
        raise TableError(
            f"{len(rows)} training and {len(held)} validation galaxies are too few for batches of "
            f"{share.rows}; give more images, raise sky.galaxies in the recipe, or lower "
            "optimiser.batch"
        )
    if share.rows < share.processes:
        raise TableError(
            f"batches of {share.rows} galaxies cannot be shared by {share.processes} processes; "
            "start fewer, or raise optimiser.batch"
        )
    return SplitRows(rows, held)
