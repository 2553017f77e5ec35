"""Verb: pretrain."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galaxy_da.commands.options import AsJson, OutFolder
from galaxy_da.commands.printing import print_result, print_table

if TYPE_CHECKING:
    import pyarrow as pa
    from upath import UPath


def pretrain(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Recipe: shipped name or TOML file.")
    ],
    out: OutFolder,
    sample: Annotated[
        UPath | None,
        typer.Option(help="Sample table to train on, instead of the recipe's simulated sky."),
    ] = None,
    scenes: Annotated[
        list[UPath] | None,
        typer.Option(help="Real galaxies for the sky of the recipe `anchor`; may be repeated."),
    ] = None,
    sky: Annotated[
        Path | None, typer.Option(help="Folder that keeps the sky of the recipe `anchor`.")
    ] = None,
    start: Annotated[
        UPath | None, typer.Option(help="Space whose networks the recipe `anchor` starts from.")
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Number of GPUs that share each batch.")] = 1,
    json: AsJson = False,
) -> None:
    """Train an anchor; run again to resume.

    Under torchrun, as many processes as it starts share each batch.

    Example: galaxy-da pretrain anchor --out spaces/mine
    """
    from training.parallel.launch import check_shared_folder, process_group
    from training.parallel.processes import everyones
    from training.recipe_files import recipe_settings

    with process_group(devices) as is_first:
        check_shared_folder(out)
        if "layers" in recipe_settings(recipe):
            if sample or len(everyones(None)) > 1:
                raise typer.BadParameter(f"{recipe} draws its own sky in one process")
            made: dict[str, Any] | pa.Table = _conditioned(recipe, out, scenes or [], sky, start)
        elif scenes or sky or start:
            raise typer.BadParameter("--scenes, --sky and --start belong to the recipe anchor")
        else:
            made = _of_one_survey(recipe, out, sample, devices)
        if not is_first:
            return
        if isinstance(made, dict):
            print_result({"space": str(out), **made}, json)
        else:
            print_table(made, json)


def _conditioned(
    recipe: str, out: UPath, scenes: list[UPath], sky: Path | None, start: UPath | None
) -> dict[str, Any]:
    """Train a network of every instrument; return the space's id and its last losses."""
    from galaxy_da.io.staging import staged_folder
    from galaxy_da.space import LatentSpace
    from training.anchor.recipe import AnchorRecipe
    from training.anchor.run import train_anchor
    from training.recipe_files import validated

    with staged_folder(out) as folder:
        trained = train_anchor(
            validated(recipe, AnchorRecipe),
            folder,
            scenes=scenes,
            sky=sky,
            start=LatentSpace.load(start) if start else None,
            processes=os.cpu_count() or 1,
            progress=True,
        )
    return {"id": trained.id, **trained.training["curves"][-1]}


def _of_one_survey(
    recipe: str, out: UPath, sample: UPath | None, devices: int
) -> dict[str, Any] | pa.Table:
    """Train by another recipe; return the space's id and metrics, or the rows of a scan."""
    from galaxy_da.io.samples import Sample
    from galaxy_da.io.staging import staged_folder
    from galaxy_da.space import LatentSpace
    from training.pretraining.latent_scan import scan_latents
    from training.pretraining.recipe import load_recipe
    from training.pretraining.run import RunOptions
    from training.pretraining.run import pretrain as run

    settings = load_recipe(recipe)
    train = scan_latents if settings.scan else run
    images = Sample(sample) if sample else None
    with staged_folder(out) as folder:
        options = RunOptions(devices=devices, progress=True)
        made = train(settings, folder, sample=images, options=options)
    return {"id": made.id, **made.metrics} if isinstance(made, LatentSpace) else made
