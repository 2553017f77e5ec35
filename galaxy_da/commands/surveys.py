"""Verb: surveys."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from galaxy_da.commands.options import AsJson
from galaxy_da.commands.printing import print_result

if TYPE_CHECKING:
    from upath import UPath

    from galaxy_da.surveys import Survey


def surveys(
    name: Annotated[str | None, typer.Argument(help="Show one survey in full.")] = None,
    file: Annotated[UPath | None, typer.Option(help="Check a definition file of your own.")] = None,
    space: Annotated[
        str, typer.Option(help="Latent space that reads the survey: a folder, or 'decals'.")
    ] = "decals",
    new: Annotated[
        UPath | None, typer.Option(help="Write a definition file, with a comment on each value.")
    ] = None,
    image: Annotated[
        UPath | None,
        typer.Option("--from", help="FITS cutout whose header answers what it can, for --new."),
    ] = None,
    answers: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Value for --new, such as depth_mag=24 or g.psf_fwhm_arcsec=1.2; may repeat.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """List the surveys, show one, check a definition file, or write a new one.

    One survey is shown with the way in which a space reads it: adapted or by definition, and its
    band for each plane. A definition is TOML: name, title, pixel_scale_arcsec, flux_unit
    (nanomaggy, maggy, nJy, uJy, Jy, or count with zeropoint_mag) and one [[bands]] table per band
    with name, wavelength_nm, psf_fwhm_arcsec and depth_mag. `galaxy-da surveys hsc --json` prints
    every field.

    --new writes such a file. Values come from --set, then from a FITS cutout; a terminal is asked
    for the others. Without a terminal, missing values are an error that names them.

    Example: galaxy-da surveys hsc

    Example: galaxy-da surveys --new mine.toml --from cutout.fits --set psf_fwhm_arcsec=1.1
    """
    from galaxy_da.surveys import builtin_surveys, find_survey, load_survey

    if new is None and (image is not None or answers):
        raise typer.BadParameter("--from and --set belong to --new")
    if new is not None:
        survey = _draft(new, image, answers or [])
        print_result({"definition": str(new), **_summary(survey)}, json)
        return
    if file is not None or name is not None:
        survey = load_survey(file) if file is not None else find_survey(str(name))
        shown = survey.model_dump(mode="json") if json else _summary(survey)
        print_result(shown | {"read": _reading(survey, space)}, json)
        return
    rows = {
        survey.name: f"{survey.title}: {','.join(survey.band_names)}, "
        f"{survey.pixel_scale_arcsec}″/px, {survey.flux_unit} (AB {survey.zeropoint_mag})"
        for survey in builtin_surveys().values()
    }
    print_result(rows, json)


def _draft(path: UPath, image: UPath | None, answers: list[str]) -> Survey:
    """Write a definition from answers and an image, and ask a terminal for the rest."""
    from galaxy_da.images.survey_draft import draft_survey

    given = {}
    for answer in answers:
        name, equals, value = answer.partition("=")
        if not (name and equals and value):
            raise typer.BadParameter(f"--set takes NAME=VALUE, not {answer!r}")
        given[name] = value
    return draft_survey(path, image, given, _ask if sys.stdin.isatty() else None)


def _ask(name: str, meaning: str, proposal: Any) -> str:
    return str(typer.prompt(f"{name}: {meaning}", default=proposal, err=True))


def _reading(survey: Survey, path: str) -> str:
    """Say how a space reads a survey: its band for each plane, and the missing planes."""
    from galaxy_da.space import LatentSpace

    space = LatentSpace.load(path)
    encoder = space.encoder(survey)
    planes = dict(zip(space.frame.bands, encoder.bands, strict=True))
    filled = ", ".join(f"{plane}<-{band}" for plane, band in planes.items() if band is not None)
    missing = ", ".join(plane for plane, band in planes.items() if band is None)
    return f"{encoder.reading}: planes {filled}; missing: {missing or 'none'}"


def _summary(survey: Survey) -> dict[str, Any]:
    """Return the definition of a survey as lines and a table of bands."""
    fields = survey.model_dump(mode="json", exclude={"bands", "stretch", "stretches"})
    stretches = {"stretch": survey.stretch} | {
        f"stretch {name}": stretch for name, stretch in survey.stretches.items()
    }
    lines = {key: value for key, value in fields.items() if value not in (None, "")}
    for name, stretch in stretches.items():
        if stretch is not None:
            state = stretch.checked or "documented, not checked against linear images"
            lines[name] = f"{', '.join(stretch.planes)} as red, green, blue; {state}"
    bands = {band.name: band.model_dump(exclude={"name"}) for band in survey.bands}
    return {**lines, "bands": bands}
