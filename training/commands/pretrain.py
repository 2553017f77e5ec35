"""Verbs of training: pretrain, adapt, demo."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from upath import UPath

from galaxy_da.cli import AsJson, Out, print_result

if TYPE_CHECKING:
    from galaxy_da.space import LatentSpace

__all__ = ["adapt", "demo", "pretrain"]

_CHECKPOINT = "unfinished"


def pretrain(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="TOML file, or a shipped name.")],
    out: Out,
    sample: Annotated[
        UPath | None,
        typer.Option(help="Sample table to train on, instead of the recipe's simulated sky."),
    ] = None,
    scenes: Annotated[
        UPath | None, typer.Option(help="Sample table of real images to use as galaxies.")
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="GPUs that share each batch.")] = 1,
    json: AsJson = False,
) -> None:
    """Train an anchor; run again to go on after a stop.

    Under torchrun, as many processes as it starts share each batch.

    Example: galaxy-da pretrain simulated --out spaces/mine
    """
    from galaxy_da.cli import print_table
    from galaxy_da.io.storage import staged_folder
    from galaxy_da.io.tables import Sample
    from galaxy_da.space import LatentSpace
    from training.parallel.launch import process_group
    from training.pretraining.latent_scan import scan_latents
    from training.pretraining.recipe import load_recipe
    from training.pretraining.run import pretrain as run

    if sample and scenes:
        raise typer.BadParameter("--scenes is for the simulated sky; leave it out with --sample")
    with process_group(devices) as is_first:
        _check_shared(out)
        settings = load_recipe(recipe)
        images = Sample(sample) if sample else None
        train = scan_latents if settings.scan else run
        with staged_folder(out) as folder:
            made = train(
                settings, folder, sample=images, scenes=scenes, devices=devices, progress=True
            )
        if not is_first:
            return
        if isinstance(made, LatentSpace):
            print_result({"space": str(out), "id": made.id, **made.metrics}, json)
        else:
            print_table(made, json)


def adapt(
    space: Annotated[str, typer.Option(help="Latent space: a folder, or 'decals' (shipped).")],
    anchor: Annotated[UPath, typer.Option(help="Sample table of the anchor survey.")],
    target: Annotated[UPath, typer.Option(help="Sample table of the new survey.")],
    out: Out,
    pairs: Annotated[
        UPath | None,
        typer.Option(help="Pair table from anchor to target; without, images alone teach."),
    ] = None,
    survey: Annotated[
        str | None, typer.Option(help="The new survey: built-in name or TOML file.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=0, help="Most steps of each training; 0 trains nothing.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of order and choice.")] = 0,
    json: AsJson = False,
) -> None:
    """Map a new survey into a space; the best candidate on held-out pairs wins.

    An interrupted run goes on where it was. Under torchrun, its processes share each batch.

    Example: galaxy-da adapt --space decals --anchor decals/sample.parquet
    --target sdss/sample.parquet --pairs pairs.parquet --out space
    """
    from galaxy_da.io.storage import staged_folder
    from galaxy_da.io.tables import Sample, read_pairs
    from galaxy_da.space import LatentSpace
    from galaxy_da.surveys import get_survey
    from training.adaptation.fine_tuning import FineTuningSettings
    from training.adaptation.run import adapt as run
    from training.parallel.launch import process_group

    with process_group() as is_first:
        _check_shared(out)
        second = Sample(target)
        definition = get_survey(survey or second.survey)
        with staged_folder(out) as folder:
            result = run(
                LatentSpace.load(space),
                Sample(anchor),
                second,
                read_pairs(pairs) if pairs else None,
                survey=definition,
                settings=None if steps is None else FineTuningSettings(steps=steps),
                seed=seed,
                checkpoint=folder / _CHECKPOINT,
                progress=True,
            )
            if is_first:
                result.save(folder)
                shutil.rmtree(folder / _CHECKPOINT)
        if is_first:
            _print_adapted(result, definition.name, out, json)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything it makes.")] = Path("demo"),
    n: Annotated[int, typer.Option("--n", min=200, help="Galaxies.")] = 3000,
    seed: Annotated[int, typer.Option(help="Of the sky.")] = 1,
    json: AsJson = False,
) -> None:
    """Tell the whole story on a simulated sky: every step is a command you can repeat.

    Example: galaxy-da demo --out demo
    """
    from training.demo import demo as run

    result = run(out, n=n, seed=seed, as_json=json)
    if json:
        print_result(result, json)


def _check_shared(out: UPath) -> None:
    """Refuse a URL to several processes, of which each would stage a folder of its own."""
    from galaxy_da.errors import StorageError
    from galaxy_da.io.storage import location
    from training.parallel.processes import everyones

    if len(everyones(None)) > 1 and not isinstance(location(out), Path):
        raise StorageError(
            f"{out}: several processes train in one folder that all of them see; give --out such a "
            "folder and copy it to the store afterwards"
        )


def _print_adapted(space: LatentSpace, survey: str, out: UPath, json: bool) -> None:
    """Say which candidate won, and what each scored."""
    record = space.encoder(survey).record
    scores = {
        item["name"]: {key: round(value, 4) for key, value in item.items() if key != "name"}
        for item in record["candidates"]
    }
    print_result(
        {
            "space": str(out),
            "surveys": ", ".join(space.surveys),
            "chosen": record["chosen"],
            "judged_by": record["judged_by"],
            **scores,
        },
        json,
    )
