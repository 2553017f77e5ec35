"""Verb: adapt."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from galaxy_da.commands.options import AsJson, OutFolder, Space
from galaxy_da.commands.printing import print_result

if TYPE_CHECKING:
    from upath import UPath

    from galaxy_da.space import LatentSpace

_CHECKPOINT = "unfinished"


def adapt(
    space: Space,
    anchor: Annotated[UPath, typer.Option(help="Sample table of the anchor survey.")],
    target: Annotated[UPath, typer.Option(help="Sample table of the new survey.")],
    out: OutFolder,
    pairs: Annotated[
        UPath | None,
        typer.Option(help="Pair table from anchor to target; without it, images alone are used."),
    ] = None,
    survey: Annotated[
        str | None, typer.Option(help="The new survey: built-in name or TOML file.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=0, help="Largest number of steps of fine-tuning; 0 trains no weights."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    json: AsJson = False,
) -> None:
    """Adapt a space to a new survey, and keep a candidate that is best on held-out data.

    The survey's definition of its instrument is one of the candidates. Of those that find held-out
    pairs equally well, the one whose latents are closest to the anchor's is kept. Prints the fitted
    numbers of the instrument, and notes on stderr if the samples or many pairs hold different
    galaxies. Run again to resume. Under torchrun, the processes share each batch.

    Example: galaxy-da adapt --space decals --anchor decals/sample.parquet
    --target sdss/sample.parquet --pairs pairs.parquet --out space
    """
    from galaxy_da.io.samples import Sample
    from galaxy_da.io.staging import staged_folder
    from galaxy_da.io.tables import read_pairs
    from galaxy_da.space import LatentSpace
    from galaxy_da.surveys import find_survey, get_survey
    from training.adaptation import AdaptSettings, FineTuningSettings
    from training.adaptation import adapt as run
    from training.parallel.launch import check_shared_folder, process_group

    with process_group() as is_first:
        check_shared_folder(out)
        second = Sample(target)
        definition = find_survey(survey) if survey else get_survey(second.survey)
        tuning = FineTuningSettings() if steps is None else FineTuningSettings(steps=steps)
        with staged_folder(out) as folder:
            result = run(
                LatentSpace.load(space),
                Sample(anchor),
                second,
                read_pairs(pairs) if pairs else None,
                survey=definition,
                settings=AdaptSettings(
                    fine_tuning=tuning, seed=seed, checkpoint=folder / _CHECKPOINT, progress=True
                ),
            )
            if is_first:
                result.save(folder)
                shutil.rmtree(folder / _CHECKPOINT)
        if is_first:
            _print_adapted(result, definition.name, out, json)


def _print_adapted(space: LatentSpace, survey: str, out: UPath, json: bool) -> None:
    """Print the candidates with their scores, the one that was kept, and the instrument."""
    record = space.encoder(survey).record
    for warning in record["warnings"]:
        print(f"note: {survey}: {warning}", file=sys.stderr)
    candidates = {item["name"]: _rounded(item) for item in record["candidates"]}
    kept = ("chosen", "gain", "gain_error", "judged_by", "split")
    print_result(
        {
            "space": str(out),
            "surveys": ", ".join(space.surveys),
            **{name: record[name] for name in kept if name in record},
            **{f"pairs_{name}": n for name, n in record.get("pairs", {}).items()},
            "instrument": {
                band: _rounded(numbers) for band, numbers in record.get("instrument", {}).items()
            },
            "candidates": candidates,
        },
        json,
    )


def _rounded(item: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 4) for key, value in item.items() if key != "name"}
