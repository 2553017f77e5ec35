"""Verb: probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from galaxy_da.commands.options import AsJson, Space, SurveyFiles
from galaxy_da.commands.printing import print_result, print_table

if TYPE_CHECKING:
    from upath import UPath


def probe(
    space: Space,
    sample: Annotated[
        list[UPath],
        typer.Option(
            help="Sample table of the anchor; repeat to measure other surveys too. With --votes, "
            "of any surveys."
        ),
    ],
    out: Annotated[UPath, typer.Option(help="Folder of the new space.")],
    truth: Annotated[
        UPath | None, typer.Option(help="Parquet table of truth or labels; this or --votes.")
    ] = None,
    votes: Annotated[
        UPath | None, typer.Option(help="Parquet table of numbers of votes, as of Galaxy Zoo.")
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN,COLUMN,...",
            help="Columns of --votes with the answers to one question; repeat for more questions.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column of --truth to fit; by default all that are known."),
    ] = None,
    survey_file: SurveyFiles = None,
    seed: Annotated[int, typer.Option(help="Random seed of the fit.")] = 0,
    json: AsJson = False,
) -> None:
    """Fit physical columns to the latents, for `extract` to write.

    Probes of the same names are replaced, others kept.

    Example: galaxy-da probe --space space --sample sky/decals/sample.parquet
    --sample sky/sdss/sample.parquet --truth sky/truth.parquet --out space-probed
    """
    if (truth is None) == (votes is None):
        raise typer.BadParameter("give --truth or --votes, one of them")
    if (votes is None) != (not question):
        raise typer.BadParameter("--votes and --question belong together")
    if votes is not None and column:
        raise typer.BadParameter("--column belongs to --truth")
    from evaluation.probes.errors import error_rows
    from evaluation.probes.fitting import ProbeSettings, fit_probes
    from evaluation.probes.votes import fit_votes
    from galaxy_da.io.samples import Sample
    from galaxy_da.io.tables import read_table
    from galaxy_da.space import LatentSpace
    from galaxy_da.surveys import load_survey

    loaded = LatentSpace.load(space)
    samples = [Sample(path) for path in sample]
    own = {survey.name: survey for survey in map(load_survey, survey_file or [])}
    if votes is not None:
        answers = [tuple(map(str.strip, one.split(","))) for one in question or []]
        fitted = fit_votes(loaded, samples, read_table(votes), answers, own, seed)
    elif truth is not None:
        first = next((s for s in samples if s.survey == loaded.anchor), samples[0])
        settings = ProbeSettings(columns=tuple(column or ()), own_surveys=own, seed=seed)
        others = [s for s in samples if s is not first]
        fitted = fit_probes(loaded, first, read_table(truth), others, settings)
    names = {probe.name for probe in fitted}
    kept = [probe for probe in loaded.probes if probe.name not in names]
    loaded.with_probes([*kept, *fitted]).save(out)
    if json:
        errors = {probe.name: dict(probe.errors) for probe in fitted}
        print_result({"space": str(out), "probes": errors}, json)
    else:
        print_table(error_rows(fitted), json)
