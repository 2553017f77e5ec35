"""Verb: extract."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galaxy_da.commands.options import (
    AsJson,
    Engine,
    OutFolder,
    Planes,
    Scheduler,
    Space,
    SurveyFiles,
    finite,
    is_dask,
)
from galaxy_da.commands.printing import print_result

if TYPE_CHECKING:
    from upath import UPath

    from galaxy_da.io.features import Features

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
    out: OutFolder,
    mosaic: Annotated[
        str | None,
        typer.Option(
            help="Cut from coadded tiles instead: FITS files, with * for the tile and {band} for "
            "the band. --sample then is a Parquet catalogue."
        ),
    ] = None,
    planes: Planes = None,
    survey: Annotated[
        str | None, typer.Option(help="Survey of --mosaic: built-in name or TOML file.")
    ] = None,
    size_arcsec: Annotated[
        float,
        typer.Option(min=1, callback=finite, help="Side of a cutout of --mosaic [arcsec]."),
    ] = 60.0,
    survey_file: SurveyFiles = None,
    reconstruct: Annotated[
        bool, typer.Option(help="Write the reconstruction error of each cutout.")
    ] = True,
    measured: Annotated[
        bool,
        typer.Option(help="Also write magnitudes, radii and shapes measured on the image."),
    ] = False,
    precision: Annotated[str, typer.Option(help="Precision: auto, fp32 or bf16.")] = "auto",
    engine: Engine = "local",
    scheduler: Scheduler = None,
    json: AsJson = False,
) -> None:
    """Extract the features of every cutout; run again to resume.

    A survey that the space was not adapted to is read by its definition. The verb ends with status
    1 where no cutout can be used, and counts the reasons. With --engine dask the features become a
    HATS catalogue, partition by partition. With --mosaic each tile is read once, no cutout is
    written, and the features are ordered by tile.

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
        measured=measured,
        progress=True,
    )
    if (mosaic is None) != (survey is None):
        raise typer.BadParameter("--mosaic and --survey belong together")
    if mosaic is not None and survey is not None:
        from galaxy_da.extraction.mosaic import extract_mosaic
        from galaxy_da.images.tiles import Mosaic
        from galaxy_da.io.tables import read_table
        from galaxy_da.surveys import find_survey

        tiles = Mosaic(
            files=mosaic,
            planes=tuple(planes or ()),
            survey=find_survey(survey),
            side_arcsec=size_arcsec,
        )
        loaded, rows = LatentSpace.load(space), read_table(sample)
        run_tiles: Callable[..., Features] = extract_mosaic
        if is_dask(engine, scheduler):
            from galaxy_da.cluster.tiles import extract_tiles

            run_tiles = partial(extract_tiles, scheduler=scheduler)
        counts = _counts(lambda: run_tiles(loaded, tiles, rows, out, settings))
    elif is_dask(engine, scheduler):
        from galaxy_da.cluster.extraction import extract_partitions

        counts = extract_partitions(
            LatentSpace.load(space), sample, out, settings, scheduler=scheduler
        )
    else:
        from galaxy_da.extraction.pipeline import extract as run
        from galaxy_da.io.samples import Sample

        counts = _counts(lambda: run(LatentSpace.load(space), Sample(sample), out, settings))
    read = {survey: {"read": words} for survey, words in counts.pop("readings").items()}
    print_result({"features": str(out), **counts, "surveys": read}, json)
    if counts["rows"] and not counts.get("ok"):
        raise typer.Exit(_NO_USABLE_ROW)


def _counts(run: Callable[[], Features]) -> dict[str, Any]:
    """Extract; return the rows of each status, problems, warnings, and how surveys were read."""
    import pyarrow.compute as pc

    from galaxy_da.errors import SampleWarning
    from galaxy_da.extraction.problems import count_problems

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SampleWarning)
        features = run()
    table = features.table
    counts: dict[str, Any] = {"rows": table.num_rows, "readings": features.readings}
    for item in pc.value_counts(table["status"]).to_pylist():
        counts[item["values"]] = item["counts"]
    bad = table.filter(pc.not_equal(table["status"], "ok"))
    if bad.num_rows:
        messages = (message or "" for message in bad["message"].to_pylist())
        counts["problems"] = count_problems(zip(bad["status"].to_pylist(), messages, strict=True))
    if caught:
        counts["warning"] = "; ".join(str(one.message) for one in caught)
    return counts
