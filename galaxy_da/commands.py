"""Verbs of the core: surveys, extract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_da.cli import AsJson, Out, SurveyFiles, print_result

__all__ = ["extract", "surveys"]


def surveys(
    name: Annotated[str | None, typer.Argument(help="Show one survey in full.")] = None,
    file: Annotated[Path | None, typer.Option(help="Check a definition of your own.")] = None,
    json: AsJson = False,
) -> None:
    """List the surveys, show one, or check a definition file.

    A definition is TOML: name, title, pixel_scale_arcsec, flux_unit (nanomaggy, maggy, nJy, uJy,
    Jy, or count with zeropoint_mag) and one [[bands]] table per band with name, wavelength_nm,
    psf_fwhm_arcsec and depth_mag. `galaxy-da surveys hsc --json` prints every field.

    Example: galaxy-da surveys hsc
    """
    from galaxy_da.surveys import builtin_surveys, get_survey, load_survey

    if file is not None or name is not None:
        survey = load_survey(file) if file is not None else get_survey(str(name))
        print_result(survey.model_dump(mode="json"), json)
        return
    rows = {
        survey.name: f"{survey.title}: {','.join(survey.band_names)}, "
        f"{survey.pixel_scale_arcsec}″/px, {survey.flux_unit} (AB {survey.zeropoint_mag})"
        for survey in builtin_surveys().values()
    }
    print_result(rows, json)


def extract(
    space: Annotated[str, typer.Option(help="Latent space: a folder, or 'decals' (shipped).")],
    sample: Annotated[Path, typer.Option(help="Sample table (Parquet) of cutouts.")],
    out: Out,
    survey_file: SurveyFiles = None,
    unadapted: Annotated[
        bool, typer.Option(help="Use the anchor's network where a survey has none of its own.")
    ] = False,
    reconstruct: Annotated[bool, typer.Option(help="Record the reconstruction error.")] = True,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    json: AsJson = False,
) -> None:
    """Extract the features of every cutout; run again to go on after a stop.

    Example: galaxy-da extract --space decals --sample decals/sample.parquet --out features/decals
    """
    from typing import cast

    import pyarrow.compute as pc

    from galaxy_da.devices import Precision
    from galaxy_da.extraction import extract as run
    from galaxy_da.space import LatentSpace
    from galaxy_da.surveys import load_survey
    from galaxy_da.tables import Sample

    if precision not in ("auto", "fp32", "bf16"):
        raise typer.BadParameter(f"precision is auto, fp32 or bf16, not {precision!r}")
    features = run(
        LatentSpace.load(space),
        Sample(sample),
        out,
        surveys=[load_survey(path) for path in survey_file or []],
        unadapted=unadapted,
        precision=cast(Precision, precision),
        reconstruct=reconstruct,
        progress=True,
    )
    counts = pc.value_counts(features.table["status"]).to_pylist()
    print_result(
        {
            "features": str(out),
            "rows": features.table.num_rows,
            **{item["values"]: item["counts"] for item in counts},
        },
        json,
    )
