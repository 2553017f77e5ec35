"""Verbs of training: pretrain, adapt, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_da.cli import AsJson, Out, print_result

__all__ = ["adapt", "demo", "pretrain"]


def pretrain(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="TOML file, or a shipped name.")],
    out: Out,
    scenes: Annotated[
        Path | None, typer.Option(help="Sample table of real images to use as galaxies.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Train an anchor; run again to go on after a stop.

    Example: galaxy-da pretrain simulated --out spaces/mine
    """
    from training.pretrain import pretrain as run
    from training.recipes import load_recipe

    space = run(load_recipe(recipe), out, scenes=scenes, progress=True)
    print_result({"space": str(out), "id": space.id, **space.metrics}, json)


def adapt(
    space: Annotated[str, typer.Option(help="Latent space: a folder, or 'decals' (shipped).")],
    anchor: Annotated[Path, typer.Option(help="Sample table of the anchor survey.")],
    target: Annotated[Path, typer.Option(help="Sample table of the new survey.")],
    pairs: Annotated[Path, typer.Option(help="Pair table from anchor to target.")],
    out: Out,
    survey: Annotated[
        str | None, typer.Option(help="The new survey: built-in name or TOML file.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of order and choice.")] = 0,
    json: AsJson = False,
) -> None:
    """Map a new survey into a space; the best candidate on held-out pairs wins.

    Example: galaxy-da adapt --space decals --anchor decals/sample.parquet
    --target sdss/sample.parquet --pairs pairs.parquet --out space
    """
    from galaxy_da.space import LatentSpace
    from galaxy_da.surveys import get_survey
    from galaxy_da.tables import Sample, read_pairs
    from training.adapt import adapt as run

    second = Sample(target)
    definition = get_survey(survey or second.survey)
    result = run(
        LatentSpace.load(space),
        Sample(anchor),
        second,
        read_pairs(pairs),
        survey=definition,
        seed=seed,
        progress=True,
    )
    result.save(out)
    record = result.encoder(definition.name).record
    scores = {
        item["name"]: {key: round(item[key], 4) for key in ("recall_at_1", "mean_reciprocal_rank")}
        for item in record["candidates"]
    }
    print_result(
        {
            "space": str(out),
            "surveys": ", ".join(result.surveys),
            "chosen": record["chosen"],
            "held_out_pairs": record["pairs"]["validation"],
            **scores,
        },
        json,
    )


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
