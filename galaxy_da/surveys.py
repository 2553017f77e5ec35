"""Describe surveys: bands, pixels, PSF, depth, flux unit, and cutout service.

A `Survey` is read from a TOML file. Some are built in (`builtin_surveys`); users describe others in
files of their own. The files under ``survey_definitions`` cite the source of each constant.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from galaxy_da.errors import SurveyError
from galaxy_da.io.storage import PathOrUrl, location, read_text

NANOMAGGY_ZEROPOINT = 22.5
"""AB magnitude of one nanomaggy [mag]."""

_R_NM = 642.0

_UNIT_ZEROPOINTS = {
    "nanomaggy": NANOMAGGY_ZEROPOINT,
    "maggy": 0.0,
    "nJy": 31.4,
    "uJy": 23.9,
    "Jy": 8.9,
}
"""AB zeropoints of flux units [mag]; ``count`` has none, so the survey must give it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Band(_Frozen):
    """One filter of a survey.

    Attributes
    ----------
    name : str
        Name in file headers, file names and archive requests: letters, digits and ``_.+'-``.
    wavelength_nm : float
        Effective wavelength [nm]; the nearest band substitutes for one that is missing.
    psf_fwhm_arcsec : float
        Median PSF full width at half maximum [arcsec].
    psf_scatter : float
        Standard deviation of ln(FWHM) over the survey.
    depth_mag : float
        5σ point-source depth [AB mag].
    depth_scatter : float
        Standard deviation of the depth over the survey [mag].
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+'-]*$", max_length=64)
    wavelength_nm: float = Field(gt=0)
    psf_fwhm_arcsec: float = Field(gt=0)
    psf_scatter: float = Field(default=0.1, ge=0)
    depth_mag: float
    depth_scatter: float = Field(default=0.15, ge=0)


class Stretch(_Frozen):
    """Stretch by which an archive converts three bands to an 8-bit colour image.

    With ``I`` the mean over the planes of ``max(0, scale * flux + offset)``, each plane is
    ``(scale * flux + offset) * asinh(q * I) / (divisor * I)``, clipped to [0, 1] (Lupton et al.
    2004, PASP 116, 133, and its descendants).

    Attributes
    ----------
    planes : tuple of str
        Bands shown as red, green and blue.
    scales : tuple of float
        One factor per plane [1 / nanomaggy].
    offset, q, divisor : float
        Constants of the formula above.
    pixel_scale_arcsec : float
        Side of the pixel that the stretched flux refers to [arcsec], at every scale of the JPEG.
    checked : str
        How the constants were checked against linear images of the same galaxies; empty if they
        are only documented.
    """

    planes: tuple[str, str, str]
    scales: tuple[float, float, float]
    offset: float = 0.0
    q: float = Field(gt=0)
    divisor: float = Field(gt=0)
    pixel_scale_arcsec: float = Field(gt=0)
    checked: str = ""


class GalaxyZooStretch(_Frozen):
    """Stretch of Galaxy Zoo's colour images of DECaLS; see `galaxy_da.images.galaxy_zoo_colours`.

    Attributes
    ----------
    kind : str
        Always ``galaxy-zoo-decals``.
    planes, pixel_scale_arcsec, checked
        As for `Stretch`.
    """

    kind: Literal["galaxy-zoo-decals"]
    planes: tuple[str, str, str]
    pixel_scale_arcsec: float = Field(gt=0)
    checked: str = ""


AnyStretch: TypeAlias = Stretch | GalaxyZooStretch


class Survey(_Frozen):
    """Description of one imaging survey.

    Attributes
    ----------
    name : str
        Name in tables and commands.
    title : str
        Name for people.
    bands : tuple of Band
        Bands, in the order of the planes of a cutout.
    pixel_scale_arcsec : float
        Side of a pixel of a cutout, unless its header or the table gives another [arcsec].
    flux_unit : str
        ``nanomaggy``, ``maggy``, ``nJy``, ``uJy``, ``Jy``, or ``count`` with a zeropoint.
    zeropoint_mag : float
        AB magnitude of one flux unit [mag].
    needs_zeropoint : bool
        True if the zeropoint differs between images, so that one whose header states neither a flux
        unit nor a zeropoint is refused.
    exposure_keyword : str, optional
        Header card with the exposure time [s] by which counts are divided.
    flux_pixel_scale_arcsec : float, optional
        Side of the pixel that flux values refer to [arcsec], if the archive interpolates cutouts
        onto other grids without rescaling the flux; by default the cutout's own pixel.
    stretch : Stretch, optional
        Stretch of the archive's colour images, if it is documented.
    stretches : dict of str to Stretch
        Stretches of other makers' colour images of the survey, by name.
    cutout_service, footprint, citation : str
        Service of cutouts, MOC of the covered sky, publication to cite.

    Examples
    --------
    >>> from galaxy_da import Survey
    >>> bands = [dict(name="B", wavelength_nm=440, psf_fwhm_arcsec=1.2, depth_mag=24.5)]
    >>> mine = Survey(
    ...     name="mine", title="Mine", pixel_scale_arcsec=0.3, flux_unit="nJy", bands=bands
    ... )
    >>> mine.zeropoint_mag
    31.4
    >>> mine.band_names
    ('B',)
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.+-]*$", max_length=64)
    title: str
    bands: tuple[Band, ...] = Field(min_length=1)
    pixel_scale_arcsec: float = Field(gt=0)
    flux_unit: Literal["nanomaggy", "maggy", "nJy", "uJy", "Jy", "count"]
    zeropoint_mag: float = NANOMAGGY_ZEROPOINT
    needs_zeropoint: bool = Field(default=False, exclude_if=lambda value: not value)
    exposure_keyword: str | None = None
    flux_pixel_scale_arcsec: float | None = Field(default=None, gt=0)
    stretch: AnyStretch | None = None
    stretches: dict[str, AnyStretch] = Field(default_factory=dict)
    cutout_service: str = ""
    footprint: str = ""
    citation: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fill_zeropoint(cls, raw: dict[str, object]) -> dict[str, object]:
        fixed = _UNIT_ZEROPOINTS.get(str(raw.get("flux_unit")))
        zeropoint = raw.get("zeropoint_mag")
        if raw.get("flux_unit") == "count" and zeropoint is None:
            raise ValueError("flux_unit 'count' needs zeropoint_mag, the AB magnitude of one count")
        if fixed is not None and zeropoint is not None and zeropoint != fixed:
            raise ValueError(
                f"zeropoint_mag {zeropoint} contradicts flux_unit {raw['flux_unit']!r}, whose AB "
                f"zeropoint is {fixed}; use flux_unit 'count' for another zeropoint"
            )
        return raw if fixed is None else {**raw, "zeropoint_mag": fixed}

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        names = self.band_names
        if len(set(names)) != len(names):
            raise ValueError(f"bands repeat: {', '.join(names)}")
        for stretch in (*([self.stretch] if self.stretch else []), *self.stretches.values()):
            for plane in stretch.planes:
                self.band(plane)
        return self

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(band.name for band in self.bands)

    @property
    def nanomaggy_per_unit(self) -> float:
        """Factor from this survey's flux to AB nanomaggies.

        Examples
        --------
        >>> round(get_survey("rubin").nanomaggy_per_unit * 3631)  # nJy; a nanomaggy is 3631 nJy
        1
        """
        return float(10 ** ((NANOMAGGY_ZEROPOINT - self.zeropoint_mag) / 2.5))

    def stretch_of(self, name: str | None = None) -> AnyStretch:
        """Return the stretch of the archive, or one of another maker by name.

        Raises
        ------
        SurveyError
            If the survey has none of that name.
        """
        stretch = self.stretch if name is None else self.stretches.get(name)
        if stretch is not None:
            return stretch
        known = ", ".join(self.stretches) or "none"
        raise SurveyError(
            f"{self.name}: colour images (JPEG, PNG) cannot become fluxes, its definition has no "
            f"stretch{'' if name is None else f' named {name!r}'} (named stretches: {known}); use "
            "FITS, or add a [stretch] to a survey file"
        )

    def band(self, name: str) -> Band:
        """Return a band by name; an unknown band raises SurveyError.

        Examples
        --------
        >>> get_survey("sdss").band("r").psf_fwhm_arcsec
        1.43
        >>> get_survey("hsc").band("u")
        Traceback (most recent call last):
        galaxy_da.errors.SurveyError: hsc: band 'u' is not in this survey; it has g, r, i, z, y
        """
        for band in self.bands:
            if band.name == name:
                return band
        raise SurveyError(
            f"{self.name}: band {name!r} is not in this survey; it has {', '.join(self.band_names)}"
        )

    @property
    def r_like(self) -> Band:
        """Band nearest to r, to which the ``psf_fwhm_arcsec`` of a sample table belongs."""
        return self.nearest_band(_R_NM)

    def nearest_band(self, wavelength_nm: float, among: tuple[str, ...] | None = None) -> Band:
        """Return the band nearest in effective wavelength [nm], by default among all.

        Examples
        --------
        >>> get_survey("sdss").nearest_band(800).name
        'i'
        """
        choices = self.bands if among is None else tuple(self.band(name) for name in among)
        return min(choices, key=lambda band: abs(band.wavelength_nm - wavelength_nm))


def load_survey(path: PathOrUrl) -> Survey:
    """Read a survey definition from a TOML file, at a path or a URL.

    Raises
    ------
    SurveyError
        If the file is missing, not TOML, has an unknown key, unit or band, or lacks a field.
    StorageError
        If the object store fails.

    Examples
    --------
    >>> load_survey("nowhere.toml")
    Traceback (most recent call last):
    galaxy_da.errors.SurveyError: nowhere.toml: no such survey file (No such file or directory)
    """
    try:
        return survey_from_text(read_text(location(path)), str(path))
    except OSError as error:
        raise SurveyError(f"{path}: no such survey file ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SurveyError(f"{path}: is not TOML ({error})") from error


def survey_from_text(text: str, where: str) -> Survey:
    """Read a survey definition from TOML; `where` names it in the SurveyError of a bad one."""
    try:
        return Survey.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SurveyError(f"{where}: is not TOML ({error})") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'survey'}: {_reason(item)}"
            for item in error.errors()
        )
        raise SurveyError(f"{where}: {problems}") from error


def _reason(item: Mapping[str, Any]) -> str:
    if item["type"] == "string_pattern_mismatch":
        case = "" if "A-Z" in item["ctx"]["pattern"] else "lower-case "
        return f"{item['input']!r} is no name; use {case}letters, digits and _.+-, without blanks"
    return str(item["msg"]).removeprefix("Value error, ")


@lru_cache(maxsize=1)
def builtin_surveys() -> dict[str, Survey]:
    """Return the built-in surveys, by name.

    Examples
    --------
    >>> [name for name, survey in builtin_surveys().items() if "Ks" in survey.band_names]
    ['vhs', 'viking']
    """
    folder = files("galaxy_da") / "survey_definitions"
    paths = sorted(Path(str(folder)).glob("*.toml"))
    return {survey.name: survey for survey in map(load_survey, paths)}


def get_survey(name: str) -> Survey:
    """Return a built-in survey by name; an unknown name raises SurveyError.

    Examples
    --------
    >>> from galaxy_da import get_survey
    >>> hsc = get_survey("hsc")
    >>> hsc.title, hsc.pixel_scale_arcsec
    ('HSC-SSP Wide PDR3', 0.168)
    >>> hsc.band_names
    ('g', 'r', 'i', 'z', 'y')
    """
    known = builtin_surveys()
    if name not in known:
        near = get_close_matches(name.lower(), known, n=1)
        meant = f"did you mean {near[0]}? B" if near else "b"
        raise SurveyError(
            f"unknown survey {name!r}; {meant}uilt in are {', '.join(known)}; describe another in "
            "a TOML file (`galaxy-da surveys --help` shows how), and give its path by --survey or, "
            "in extract, by --survey-file"
        )
    return known[name]


def find_survey(name_or_path: str) -> Survey:
    """Return a built-in survey by name, or read a definition by the path of a TOML file.

    Use it for what a user typed, never for names that come out of a table or from a client.

    Raises
    ------
    SurveyError
        If the name is unknown, or the file is missing or invalid.
    """
    return load_survey(name_or_path) if name_or_path.endswith(".toml") else get_survey(name_or_path)
