"""Verb: surveys."""

from __future__ import annotations

from typing import Annotated

import typer
from upath import UPath

from galaxy_da.commands.options import AsJson
from galaxy_da.commands.printing import print_result

__all__ = ["surveys"]


def surveys(
    name: Annotated[str | None, typer.Argument(help="Show one survey in full.")] = None,
    file: Annotated[UPath | None, typer.Option(help="Check a definition file of your own.")] = None,
    json: AsJson = False,
) -> None:
    """List the surveys, show one, or check a definition file.

    A definition is TOML: name, title, pixel_scale_arcsec, flux_unit (nanomaggy, maggy, nJy, uJy,
    Jy, or count with zeropoint_mag) and one [[bands]] table per band with name, wavelength_nm,
    psf_fwhm_arcsec and depth_mag. `galaxy-da surveys hsc --json` prints every field.

    Example: galaxy-da surveys hsc
    """
    from galaxy_da.surveys import builtin_surveys, find_survey, load_survey

    if file is not None or name is not None:
        survey = load_survey(file) if file is not None else find_survey(str(name))
        print_result(survey.model_dump(mode="json"), json)
        return
    rows = {
        survey.name: f"{survey.title}: {','.join(survey.band_names)}, "
        f"{survey.pixel_scale_arcsec}″/px, {survey.flux_unit} (AB {survey.zeropoint_mag})"
        for survey in builtin_surveys().values()
    }
    print_result(rows, json)
