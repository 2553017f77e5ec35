"""Verb: extract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
    unadapted: Annotated[
        bool, typer.Option(help="Read surveys without an encoder by the anchor's.")
    ] = False,
    reconstruct: Annotated[
        bool, typer.Option(help="Write the reconstruction error of each cutout.")
    ] = True,
    precision: Annotated[str, typer.Option(help="Precision: auto, fp32 or bf16.")] = "auto",
    engine: Engine = "local",
    scheduler: Scheduler = None,
    json: AsJson = False,
) -> None:
    """Extract the features of every cutout; run again to resume.

    With --engine dask they become a HATS catalogue, partition by partition.

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
        unadapted=unadapted,
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
    print_result({"features": str(out), **counts}, json)


def _extract(
    space: LatentSpace, sample: Location, out: Location, settings: ExtractSettings
) -> dict[str, int]:
    """Extract in this process; return the number of rows, and of each status."""
    import pyarrow.compute as pc

    from galaxy_da.extraction.pipeline import extract as run
    from galaxy_da.io.samples import Sample

    table = run(space, Sample(sample), out, settings).table
    counts = pc.value_counts(table["status"]).to_pylist()
    return {"rows": table.num_rows, **{item["values"]: item["counts"] for item in counts}}
