"""Verb: evaluate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from galaxy_da.commands.options import AsJson, Space, SurveyFiles
from galaxy_da.commands.printing import print_result, print_table

if TYPE_CHECKING:
    from upath import UPath


def evaluate(
    space: Space,
    anchor: Annotated[UPath, typer.Option(help="Sample table of the anchor survey.")],
    target: Annotated[
        list[UPath], typer.Option(help="Sample table of another survey; may repeat.")
    ],
    pairs: Annotated[
        list[UPath], typer.Option(help="Pair table from anchor to target; one per --target.")
    ],
    out: Annotated[
        UPath, typer.Option(help="New folder for report.html, metrics.json and metrics.parquet.")
    ],
    survey_file: SurveyFiles = None,
    repeat: Annotated[
        UPath | None, typer.Option(help="Second anchor observation, for the ceiling.")
    ] = None,
    repeat_pairs: Annotated[
        UPath | None, typer.Option(help="Pair table from anchor to --repeat.")
    ] = None,
    truth: Annotated[
        UPath | None,
        typer.Option(
            help="Table of r_mag, half_light_arcsec, g_minus_r and label by object_id of --anchor"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the pool and the bootstrap.")] = 0,
    json: AsJson = False,
) -> None:
    """Evaluate surveys on the part of the sky that adapting did not use.

    Example: galaxy-da evaluate --space space --anchor decals/sample.parquet
    --target sdss/sample.parquet --pairs pairs.parquet --out report
    """
    from evaluation.evaluate import evaluate as run
    from evaluation.reports.details import SurveyResult, measure_details
    from evaluation.reports.figures import figure_table, recall_table
    from evaluation.reports.page import write_report
    from evaluation.targets import PairedSample, TargetSurvey
    from evaluation.truth import galaxy_properties
    from galaxy_da.io.files import new_folder, write_json
    from galaxy_da.io.samples import Sample
    from galaxy_da.io.tables import read_pairs, write_table
    from galaxy_da.space import LatentSpace
    from galaxy_da.surveys import load_survey

    if (repeat is None) != (repeat_pairs is None):
        raise typer.BadParameter("--repeat and --repeat-pairs belong together")
    if len(target) != len(pairs):
        raise typer.BadParameter(f"{len(target)} --target but {len(pairs)} --pairs; give as many")
    with new_folder(out) as draft:  # whole, or absent
        loaded, first = LatentSpace.load(space), Sample(anchor)
        own = {survey.name: survey for survey in map(load_survey, survey_file or [])}
        ceiling = None
        if repeat and repeat_pairs:
            ceiling = PairedSample(sample=Sample(repeat), pairs=read_pairs(repeat_pairs))
        properties = galaxy_properties(first, truth)
        results = []
        for path, table in zip(target, pairs, strict=True):
            sample = Sample(path)
            described = TargetSurvey(
                sample=sample, pairs=read_pairs(table), survey=loaded.survey(sample.survey, own)
            )
            results.append(
                SurveyResult(
                    target=described,
                    evaluation=run(loaded, first, described, repeat=ceiling, seed=seed),
                    details=measure_details(loaded, first, described, properties, seed),
                )
            )
        metrics = {"surveys": {result.target.survey.name: result.as_dict() for result in results}}
        write_json(draft / "metrics.json", metrics)
        write_table(figure_table(results), draft / "metrics.parquet")
        steps = _next_steps(space, [anchor, *target])
        write_report(draft / "report.html", loaded, first, results, next_steps=steps)
    if json:
        print_result({"report": str(out / "report.html"), **metrics}, json)
    else:
        print_table(recall_table(results), json)


def _next_steps(space: str, samples: list[UPath]) -> list[str]:
    folders = [f"features/{sample.parent.name}" for sample in samples]
    extract = [
        f"galaxy-da extract --space {space} --sample {sample} --out {folder}"
        for sample, folder in zip(samples, folders, strict=True)
    ]
    return [
        *extract,
        f"galaxy-da index {' '.join(folders)} --out index",
        "galaxy-da similar index --id SURVEY:OBJECT_ID -k 10",
    ]
