"""Verb: simulate."""

from __future__ import annotations

from typing import Annotated

import typer

from galaxy_da.commands.options import AsJson, OutFolder, Scenes, SurveyFiles, user_mistakes
from galaxy_da.commands.printing import print_result


def simulate(
    out: OutFolder,
    surveys: Annotated[
        str, typer.Option(help="Surveys, separated by commas; the first observes twice.")
    ] = ("decals,sdss,hsc"),
    n: Annotated[int, typer.Option("--n", min=1, help="Number of galaxies.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the sky.")] = 1,
    scenes: Scenes = None,
    rotated: Annotated[
        bool, typer.Option(help="Also observe with a rotated, mirrored camera: NAME-rotated.")
    ] = False,
    brightest: Annotated[float, typer.Option(help="r of the brightest galaxies [AB mag].")] = 17.0,
    faintest: Annotated[float, typer.Option(help="r of the faintest [AB mag].")] = 21.5,
    survey_file: SurveyFiles = None,
    json: AsJson = False,
) -> None:
    """Simulate galaxies as several surveys observe them, with the true pairs.

    Example: galaxy-da simulate --surveys decals,sdss,hsc --n 2000 --seed 1 --out sky
    """
    from catalogs.simulation.sky import SkySettings
    from catalogs.simulation.writing import simulate as run
    from galaxy_da.io.staging import replace_paths, staged_folder
    from galaxy_da.surveys import get_survey, load_survey

    own = {survey.name: survey for survey in map(load_survey, survey_file or [])}
    wanted = [name.strip() for name in surveys.split(",") if name.strip()]
    wanted += [name for name in own if name not in wanted]
    with staged_folder(out) as folder, user_mistakes():
        observing = [own.get(name) or get_survey(name) for name in wanted]
        limits = brightest, faintest
        settings = SkySettings(seed=seed, scenes=scenes, rotated=rotated, magnitudes=limits)
        result = run(observing, n, folder, settings)
    print_result(replace_paths(result, folder, out), json)
