"""Write the table of the built-in survey definitions, from their TOML files."""

from __future__ import annotations

from sphinx.application import Sphinx

from galaxy_da.surveys import Survey, builtin_surveys
from generators import ROOT, write_page

__all__ = ["setup"]


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before the build."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}


def _write(app: Sphinx) -> None:
    surveys = builtin_surveys().values()
    rows = [
        f"| [`{s.name}`](#{_anchor(s)}) | {s.title} | {', '.join(s.band_names)} "
        f"| {s.pixel_scale_arcsec:g} | {s.flux_unit} ({s.zeropoint_mag:g}) "
        f"| {s.r_like.psf_fwhm_arcsec:g} ({s.r_like.name}) | {s.r_like.depth_mag:g} |"
        for s in surveys
    ]
    table = [
        "| name | survey | bands | pixel [″] | unit (AB zeropoint) | PSF [″] | depth [mag] |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    parts = [_INTRODUCTION.format(number=len(rows)), "\n".join(table), *map(_section, surveys)]
    write_page("surveys.md", "\n\n".join(parts) + "\n")


_INTRODUCTION = """\
# Survey definitions

{number} surveys are built in. A definition says how a survey's images are read: bands, pixels, flux
unit, PSF and depth. The network reads images by these numbers. What the header of a file states
comes first ([how](../reference/reading.md)). [Your own survey](../howto/my-survey.md) is a file of
the same form. Comments in a definition name the source of its numbers, and say where one is not
confirmed.

PSF (median full width at half maximum) and depth (5σ, point source, AB) in this table are those of
the band nearest to r."""


def _anchor(survey: Survey) -> str:
    return f"survey-{survey.name}"


def _section(survey: Survey) -> str:
    """Return one survey with the file that defines it, whose comments name the sources."""
    path = ROOT / "galaxy_da" / "survey_definitions" / f"{survey.name}.toml"
    text = path.read_text(encoding="utf-8").strip()
    return "\n".join(
        [f"({_anchor(survey)})=", f"## {survey.name}", "", f"{survey.title}.",
         f"{survey.citation}." if survey.citation else "", "",
         "```toml", text, "```"]
    )  # fmt: skip
