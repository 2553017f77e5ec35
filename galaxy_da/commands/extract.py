"""Verb: extract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from upath import UPath

from galaxy_da.commands.options import (
    AsJson,
    Engine,
    Out,
    Scheduler,
    Space,
    SurveyFiles,
    is_dask,
)
from galaxy_da.commands.printing import print_result

if TYPE_CHECKING:
    from galaxy_da.extraction.encoding import ExtractSettings
    from galaxy_da.io.storage import Location
    from galaxy_da.space import LatentSpace

__all__ = ["extract"]

_NO_USABLE_ROW = 1
"""Exit status where rows were read but none could be used."""


def extract(
    space: Space,
    sample: Annotated[
        UPath,
        typer.Option(
            help="Sample table (Parquet) of cutouts; with --engine dask also a HATS catalogue or a "
            "folder of tables."
        ),
    ],
    out: Out,
    survey_file: SurveyFiles = None,
    reconstruct: Annotated[
        bool, typer.Option(help="Write the reconstruction error of each cutout.")
    ] = True,
    precision: Annotated[str, typer.Option(help="Precision: auto, fp32 or bf16.")] = "auto",
    engine: Engine = "local",
    scheduler: Scheduler = None,
    json: AsJson = False,
) -> None:
    """Extract the features of every cutout; run again to resume.

    A survey that the space was not adapted to is read by its definition. The verb ends with status
    1 where no cutout can be used, and counts the reasons. With --engine dask the features become a
    HATS catalogue, partition by partition.

    Example: galaxy-da extract --space decals --sample decals/sample.parquet --out features/decals
    """
    from typing import cast

    from galaxy_da.extraction.encoding import ExtractSettings
    from galaxy_da.models.devices import Precision
    from galaxy_da.space import LatentSpace
    from galaxy_da.surveys import load_survey

    if precision not in ("auto", "fp32", "bf16"):
        raise typer.BadParameter(f"precision is auto, fp32 or bf16, not {precision!r}")
    settings = ExtractSettings(
        surveys=[load_survey(path) for path in survey_file or []],
        precision=cast(Precision, precision),
        reconstruct=reconstruct,
        progress=True,
    )
    if is_dask(engine, scheduler):
        from galaxy_da.cluster.extraction import extract_partitions

        counts = extract_partitions(
            LatentSpace.load(space), sample, out, settings, scheduler=scheduler
        )
    else:
        counts = _extract(LatentSpace.load(space), sample, out, settings)
    read = {survey: {"read": words} for survey, words in counts.pop("readings").items()}
    print_result({"features": str(out), **counts, "surveys": read}, json)
    if counts["rows"] and not counts.get("ok"):
        raise typer.Exit(_NO_USABLE_ROW)


def _extract(
    space: LatentSpace, sample: Location, out: Location, settings: ExtractSettings
) -> dict[str, Any]:
    """Extract in this process; return rows of each status, problems, and how surveys were read."""
    import pyarrow.compute as pc

    from galaxy_da.extraction.pipeline import extract as run
    from galaxy_da.extraction.problems import count_problems
    from galaxy_da.io.samples import Sample

    features = run(space, Sample(sample), out, settings)
    table = features.table
    counts: dict[str, Any] = {"rows": table.num_rows, "readings": features.readings}
    for item in pc.value_counts(table["status"]).to_pylist():
        counts[item["values"]] = item["counts"]
    bad = table.filter(pc.not_equal(table["status"], "ok"))
    if bad.num_rows:
        messages = (message or "" for message in bad["message"].to_pylist())
        counts["problems"] = count_problems(zip(bad["status"].to_pylist(), messages, strict=True))
    return counts
