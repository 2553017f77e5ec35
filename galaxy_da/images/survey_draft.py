"""Write a commented survey definition from answers and from what a FITS image says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from galaxy_da.errors import CutoutError, SurveyError
from galaxy_da.images.survey_header import Stated, depth_of, read_stated, wavelength_of
from galaxy_da.io.files import atomic_path
from galaxy_da.io.storage import PathOrUrl, exists, location
from galaxy_da.surveys import Survey, builtin_surveys, survey_from_text

Ask = Callable[[str, str, Any], str]
"""Question to a person: field, its meaning, a proposal or None; returns the answer."""

_UNITS = "nanomaggy, maggy, nJy, uJy, Jy, or count"
_MEANINGS = {
    "name": "short name for tables and commands, in lower case",
    "title": "name for people",
    "bands": "names of the bands in the order of a cutout's planes, separated by commas",
    "pixel_scale_arcsec": "side of a pixel [arcsec]; headers override it",
    "flux_unit": f"{_UNITS}; headers override it",
    "zeropoint_mag": "AB magnitude of one count; headers override it",
}
_BAND_MEANINGS = {
    "wavelength_nm": "effective wavelength [nm]",
    "psf_fwhm_arcsec": "median PSF full width at half maximum [arcsec]",
    "depth_mag": "5 sigma depth for point sources [AB mag]",
}
_OF_EVERY_BAND = {"psf_fwhm_arcsec", "depth_mag"}
_NUMBERS = {"pixel_scale_arcsec", "zeropoint_mag", *_BAND_MEANINGS}


def draft_survey(
    path: PathOrUrl,
    image: PathOrUrl | None = None,
    answers: Mapping[str, str] | None = None,
    ask: Ask | None = None,
) -> Survey:
    """Write the definition of a survey as TOML, each value with its meaning and source.

    Parameters
    ----------
    path : path or URL
        File to write, ending in ``.toml``. An existing one is refused.
    image : path or URL, optional
        FITS cutout of the survey, whose header answers what it can.
    answers : mapping of str to str, optional
        Values by field, as in the file; ``psf_fwhm_arcsec`` is of every band, ``g.psf_fwhm_arcsec``
        of one. They come before the header.
    ask : callable, optional
        Asks a person for each value, with the header's as proposal.

    Returns
    -------
    Survey
        The definition, as it is read back.

    Raises
    ------
    SurveyError
        If values are missing (all are named) or wrong, or the file exists.

    Examples
    --------
    >>> draft_survey("mine.toml", answers={"name": "mine", "bands": "g,r"})
    Traceback (most recent call last):
    galaxy_da.errors.SurveyError: nothing says title, pixel_scale_arcsec, ...
    """
    if not str(path).endswith(".toml"):
        raise SurveyError(f"{path}: a definition is a TOML file; give it a name ending in .toml")
    if exists(location(path)):
        raise SurveyError(f"{path}: exists; change it by hand, or name another file")
    draft = _Draft(read_stated(image) if image is not None else Stated(), answers or {}, ask)
    text = draft.text(image)
    survey = survey_from_text(text, str(path))
    if survey.name in builtin_surveys():
        raise SurveyError(f"{survey.name}: is built in; give the definition another name")
    with atomic_path(path) as file:
        file.write_text(text, encoding="utf-8")
    return survey


class _Draft:
    """Values of a definition, each from an answer, the image or a person."""

    def __init__(self, stated: Stated, answers: Mapping[str, str], ask: Ask | None) -> None:
        self._stated, self._ask = stated, ask
        self._answers = dict(answers)
        self._used: set[str] = set()
        self._missing: list[str] = []

    def text(self, image: PathOrUrl | None) -> str:
        """Return the TOML of the definition; SurveyError names every value that is missing."""
        names = [name for name in _MEANINGS if name not in ("bands", "zeropoint_mag")]
        values = {"bands": self._value("bands", _MEANINGS["bands"])}
        values |= {name: self._value(name, _MEANINGS[name]) for name in names}
        if values["flux_unit"][0] == "count" or "zeropoint_mag" in self._answers:
            values["zeropoint_mag"] = self._value("zeropoint_mag", _MEANINGS["zeropoint_mag"])
        bands = [name.strip() for name in str(values.pop("bands")[0] or "").split(",")]
        tables = {band: self._band(band) for band in bands if band}
        self._add_depths(values, tables, image)
        self._check(tables, image is None)
        return _toml(values, tables)

    def _value(self, name: str, meaning: str, *keys: str) -> tuple[Any, str]:
        """Return a value and the comment beside it; a missing one is None."""
        keys = keys or (name,)
        self._used.update(keys)
        for key in keys:
            if key in self._answers:
                return _read(name, self._answers[key]), meaning
        found = next((key for key in keys if key in self._stated.fields), None)
        proposal = None if found is None else self._stated.fields[found]
        if self._ask is not None:
            given = self._ask(keys[0], meaning, proposal)
            if str(given) != str(proposal):
                return _read(name, given), meaning
        if found is None:
            self._missing.append(keys[-1] if name in _OF_EVERY_BAND else keys[0])
            return None, meaning
        return proposal, f"{meaning}: {self._stated.sources[found]}"

    def _band(self, band: str) -> dict[str, tuple[Any, str]]:
        wavelength = f"{band}.wavelength_nm"
        known = wavelength_of(band)
        if known is not None and wavelength not in self._stated.fields:
            self._stated.add(wavelength, known, "name of the filter")
        return {
            name: self._value(name, meaning, f"{band}.{name}", name)
            for name, meaning in _BAND_MEANINGS.items()
            if name != "depth_mag"
        }

    def _add_depths(
        self, values: dict[str, Any], tables: dict[str, Any], image: PathOrUrl | None
    ) -> None:
        """Add the depth of each band; the image's noise gives what no answer gives."""
        follows = image is not None and bool(self._missing)  # once the other values are known
        if image is not None and not follows:
            placeholders = {
                band: table | {"depth_mag": (25.0, "")} for band, table in tables.items()
            }
            survey = survey_from_text(_toml(values, placeholders), "the new definition")
            try:
                measured = depth_of(image, survey)
            except CutoutError as error:
                raise SurveyError(f"{image}: is not read by the new definition: {error}") from error
            for band, depth in measured.items():
                source = "noise of the image, if white"
                self._stated.add(f"{band}.depth_mag", depth, source)
        for band, table in tables.items():
            meaning = _BAND_MEANINGS["depth_mag"]
            keys = (f"{band}.depth_mag", "depth_mag")
            if not follows:
                table["depth_mag"] = self._value("depth_mag", meaning, *keys)
            self._used.update(keys)

    def _check(self, tables: Mapping[str, Any], without_image: bool) -> None:
        unknown = sorted(set(self._answers) - self._used)
        if not tables:  # answers for bands are read once the bands are known
            unknown = [name for name in unknown if name.split(".")[-1] not in _BAND_MEANINGS]
        if unknown:
            known = ", ".join([*_MEANINGS, *_BAND_MEANINGS])
            bands = ", ".join(tables) or "none"
            raise SurveyError(
                f"no such field: {', '.join(unknown)}; fields are {known}, or BAND.FIELD of the "
                f"bands {bands}"
            )
        if self._missing:
            units = f" (flux_unit is {_UNITS})" if "flux_unit" in self._missing else ""
            raise SurveyError(
                f"nothing says {', '.join(dict.fromkeys(self._missing))}; add --set NAME=VALUE for "
                f"each{units}{', or give a FITS cutout with --from' if without_image else ''}"
            )


def _read(name: str, text: str) -> Any:
    """Return an answer as a number or as text."""
    if name not in _NUMBERS:
        return text.strip()
    try:
        return float(text) if "." in text or "e" in text.lower() else int(text)
    except ValueError:
        raise SurveyError(f"{name} is a number, not {text!r}") from None


def _toml(values: Mapping[str, Any], tables: Mapping[str, Any]) -> str:
    """Return a definition as TOML with a comment beside each value."""
    lines = [_HEAD, *(_line(name, *value) for name, value in values.items())]
    for band, table in tables.items():
        lines += ["", "[[bands]]", f"name = {json.dumps(band)}"]
        lines += [_line(name, *value) for name, value in table.items()]
    return "\n".join(lines) + "\n"


def _line(name: str, value: Any, comment: str) -> str:
    written = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    return f"{written:<34}# {comment}" if comment else written


_HEAD = """\
# Definition of a survey for galaxy_da. `galaxy-da surveys --file THIS_FILE` checks it.
#
# The network reads images by these numbers, so check each one. Optional fields are shown by
# `galaxy-da surveys decals --json`: psf_scatter and depth_scatter of a band, exposure_keyword,
# stretch (for colour pictures), footprint, citation.
"""
