"""Scan of the latent size: reconstruction error and divergence of one recipe at several sizes."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from galaxy_da.errors import SpaceError
from galaxy_da.io.files import ensure_folder, write_json
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace
from training.parallel.processes import agreed, is_first
from training.pretraining.recipe import Recipe
from training.pretraining.run import RunOptions, pretrain

_COLUMNS = ("validation_images", "reconstruction", "kl_nat", "active_latents", "sky_bias")


def scan_latents(
    recipe: Recipe,
    out: str | os.PathLike[str],
    *,
    sample: Sample | None = None,
    options: RunOptions | None = None,
) -> pa.Table:
    """Train a recipe at each latent size of its scan, on the same images.

    The folder gets the spaces ``latents-N`` and ``scan.json``; an interrupted scan skips the
    finished sizes. Other parameters are those of `training.pretraining.pretrain`. The table has one
    row per size: ``latents``, ``validation_images``, ``reconstruction`` (mean squared error: the
    distortion), ``kl_nat`` (the rate), ``active_latents``, ``sky_bias``.
    """
    if not recipe.scan:
        raise ValueError(f"recipe {recipe.name!r} has no scan")
    folder = ensure_folder(out)
    images = folder / "images"
    options = replace(options or RunOptions(), images=images)
    rows: list[dict[str, Any]] = []
    for size in recipe.scan:
        architecture = recipe.architecture.model_copy(update={"latents": size})
        one = recipe.model_copy(update={"architecture": architecture, "scan": ()})
        space = agreed(_finished(folder / f"latents-{size}", one))
        if space is None:
            space = pretrain(one, folder / f"latents-{size}", sample=sample, options=options)
        rows.append({"latents": size, **{name: space.metrics[name] for name in _COLUMNS}})
        if is_first():
            write_json(folder / "scan.json", {"recipe": recipe.name, "rows": rows})
    if is_first():
        shutil.rmtree(images, ignore_errors=True)
    return pa.Table.from_pylist(rows)


def _finished(folder: Path, recipe: Recipe) -> LatentSpace | None:
    """Return the space that an earlier run of this recipe left."""
    try:
        space = LatentSpace.load(folder)
    except SpaceError:
        return None
    same = space.training.get("recipe") == recipe.model_dump(mode="json")
    return space if same else None
