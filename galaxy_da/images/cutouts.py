"""Read cutouts from image files, array files, and image columns of Parquet tables.

A ``cutout`` URI is relative to its sample table, an absolute path, or a URL:

================================  ===============================================================
``cube.fits``, ``.gz``, ``.bz2``  all bands in one file: a cube, or one HDU per band
``G12_{band}.fits``               one file per band
``stamp.jpg``, ``stamp.png``      colour, through the survey's stretch
``Galaxy10_DECals.h5#17``         row 17 of the dataset ``images`` (y, x, 3)
``cutouts.npy#17``                row 17 of an array of images, memory-mapped
``cutout.npy``                    an array that is one image
================================  ===============================================================

An ``image`` column holds the bytes of such a file, the Hugging Face ``{bytes, path}``, or nested
``band`` and ``flux`` lists as in the Multimodal Universe.

Each cutout takes the same steps: read the pixels, locate them on the sky, calibrate them, name
their bands, put north up. An image that cannot be used becomes a `CutoutError` of its row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_da.errors import CutoutError, GalaxyDAError, SurveyError, first_line
from galaxy_da.images.arrays import image_bytes, image_planes, read_array, read_nested_image
from galaxy_da.images.bands import agreed_bands, match_bands, split_bands
from galaxy_da.images.calibration import calibrate, flux_factors, is_photometric
from galaxy_da.images.cutout import Cutout, join_bands
from galaxy_da.images.fits import is_fits, read_fits
from galaxy_da.images.fits_source import FitsImage
from galaxy_da.images.pictures import Picture, colour_planes, read_picture
from galaxy_da.images.placement import locate
from galaxy_da.io.positions import BAD_POSITION, position_problem
from galaxy_da.io.storage import Location, exists, read_bytes, resolve
from galaxy_da.surveys import Survey

__all__ = ["Cutout", "check_core", "check_positive", "read_cutout", "read_cutouts", "read_image"]

_CONCURRENT_REQUESTS = 16
_ARRAY_SUFFIXES = (".npy", ".h5", ".hdf5")
_CORE_PX = 2
"""Pixels around that of the galaxy whose flux must be finite or masked."""

_COLUMNS = (
    "ra", "dec", "cutout", "pixel_scale_arcsec", "psf_fwhm_arcsec", "bands", "stretch",
    "photometric", "position_known",
)  # fmt: skip
"""Columns of a sample table that reading uses."""


def read_cutouts(table: pa.Table, folder: Location, survey: Survey) -> list[Cutout | CutoutError]:
    """Read the cutouts of some rows of a sample table.

    Parameters
    ----------
    table : pa.Table
        Rows of one survey, with ``cutout`` or ``image``. ``bands`` (comma-separated names),
        ``pixel_scale_arcsec``, ``psf_fwhm_arcsec`` (in the band nearest to r), ``stretch`` (a
        name of the survey's `stretches`) and ``photometric`` are used where present.
    folder : Location
        Base of relative URIs. From an object store, several images are read at once.
    survey : Survey
        Survey of the images.

    Returns
    -------
    list of Cutout or CutoutError
        In row order; the error of an image that cannot be used, whatever went wrong with it.

    Raises
    ------
    StorageError
        If the object store fails.
    """
    columns = {
        name: (table[name].cast(pa.float64()) if name in ("ra", "dec") else table[name]).to_pylist()
        for name in _COLUMNS
        if name in table.column_names
    }
    images = table["image"] if "image" in table.column_names else None

    def read(i: int) -> Cutout | CutoutError:
        row = {name: values[i] for name, values in columns.items()}
        try:
            return read_cutout(row, folder, survey, None if images is None else images[i])
        except CutoutError as error:
            return error
        except SurveyError as error:  # a stretch that the survey lacks
            return CutoutError(str(error))

    if isinstance(folder, Path) or images is not None:
        return [read(i) for i in range(table.num_rows)]
    with ThreadPoolExecutor(_CONCURRENT_REQUESTS) as pool:
        return list(pool.map(read, range(table.num_rows)))


def read_cutout(
    row: dict[str, Any], folder: Location, survey: Survey, image: pa.Scalar | None = None
) -> Cutout:
    """Read one cutout.

    Parameters
    ----------
    row : dict
        ``ra``, ``dec`` [ICRS deg]; ``cutout``, ``bands``, ``pixel_scale_arcsec``,
        ``psf_fwhm_arcsec``, ``stretch``, ``photometric`` and ``position_known`` where known.
    folder : Location
        Base of a relative URI.
    survey : Survey
        Survey of the image.
    image : pa.Scalar, optional
        Value of the ``image`` column, used if it is not null.

    Raises
    ------
    CutoutError
        If the image is missing, corrupt, truncated, lacks a band, or does not hold the galaxy.
    SurveyError
        If it is a colour image and the survey documents no stretch.
    """
    with _reading():
        if row.get("position_known") is False:
            row = {**row, "ra": None, "dec": None}
        elif "ra" in row and (problem := position_problem(row["ra"], row["dec"])):
            raise CutoutError(problem, status=BAD_POSITION)
        for name in ("pixel_scale_arcsec", "psf_fwhm_arcsec"):
            check_positive(name, row.get(name))
        if image is not None and image.is_valid:
            cutout = _read_image_column(row, survey, image)
        elif uri := row.get("cutout"):
            cutout = _read_uri(row, survey, folder, str(uri))
        else:
            raise CutoutError("the row has no image", status="no_data")
        photometric = cutout.photometric and row.get("photometric") is not False
        return replace(cutout, psf_fwhm_arcsec=row.get("psf_fwhm_arcsec"), photometric=photometric)


def _read_uri(row: dict[str, Any], survey: Survey, folder: Location, uri: str) -> Cutout:
    path, _, item = uri.partition("#")
    if "{band}" in path:
        return _read_band_files(row, survey, folder, path)
    file = resolve(folder, path)
    if file.suffix.lower() not in _ARRAY_SUFFIXES:
        return _read_encoded(row, survey, _read_file(file))
    pixels = read_array(file, item)
    if pixels.dtype == np.uint8:
        return _colour_cutout(row, survey, colour_planes(pixels))
    bands = _row_bands(row, survey)
    return _flux_cutout(row, survey, image_planes(pixels, bands, survey), bands)


def read_image(source: Location | bytes, survey: Survey, stretch: str | None = None) -> Cutout:
    """Read one FITS, JPEG or PNG file whose galaxy is in the middle.

    Parameters
    ----------
    source : Location or bytes
        File, or its content.
    survey : Survey
        Survey of the image.
    stretch : str, optional
        Name of the stretch of a colour image, where it is not that of the archive.

    Raises
    ------
    CutoutError
        If it cannot be read.
    SurveyError
        If it is a colour image and the survey documents no such stretch.
    """
    row = {"stretch": stretch}
    with _reading():
        data = source if isinstance(source, bytes) else _read_file(source)
        return _read_encoded(row, survey, data)


@contextmanager
def _reading() -> Iterator[None]:
    """Raise CutoutError whatever goes wrong with one image: it never ends a run."""
    try:
        yield
    except GalaxyDAError:
        raise
    except Exception as error:
        message = f"cannot be read ({first_line(error)})"
        raise CutoutError(message) from error


def check_positive(name: str, value: float | None) -> None:
    """Raise CutoutError if a number of a row is neither positive nor null."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise CutoutError(f"{name} must be positive but is {value}; leave it null to use the "
                          "survey's")  # fmt: skip


def _read_file(path: Location) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise CutoutError(f"{path.name}: {error.strerror or error}") from error


def _read_encoded(row: dict[str, Any], survey: Survey, data: bytes) -> Cutout:
    if not data:
        raise CutoutError("the image is empty (0 bytes)", status="no_data")
    if is_fits(data):
        return _fits_cutout(row, survey, data, _row_bands(row, survey))
    return _colour_cutout(row, survey, read_picture(data))


def _read_image_column(row: dict[str, Any], survey: Survey, image: pa.Scalar) -> Cutout:
    data = image_bytes(image)
    if data is not None:
        return _read_encoded(row, survey, data)
    nested = read_nested_image(image)
    if nested.pixel_scale_arcsec is not None:
        check_positive("pixel_scale_arcsec", nested.pixel_scale_arcsec)
        row = {**row, "pixel_scale_arcsec": nested.pixel_scale_arcsec}
    return _flux_cutout(row, survey, nested.pixels, nested.bands, nested.noise)


def _read_band_files(row: dict[str, Any], survey: Survey, folder: Location, pattern: str) -> Cutout:
    """Read one file per band; bands on other pixel grids are put onto the first band's."""

    def file(band: str) -> Location:
        return resolve(folder, pattern.format(band=band))

    bands = _row_bands(row, survey) or [name for name in survey.band_names if exists(file(name))]
    if not bands:
        raise CutoutError(f"{pattern}: no file for any band of {survey.name}")
    parts = [_fits_cutout(row, survey, _read_file(file(band)), [band]) for band in bands]
    return join_bands(parts, survey)


def _fits_cutout(
    row: dict[str, Any], survey: Survey, data: bytes, bands: list[str] | None
) -> Cutout:
    images = read_fits(data, survey)
    if len(images) == 1:
        return _place_fits(row, survey, images[0], bands)
    parts = [_place_fits(row, survey, image, None) for image in images]
    cutout = join_bands(parts, survey)
    if bands and set(match_bands(bands, len(bands), survey)) != set(cutout.bands):
        raise CutoutError(
            f"the table says bands {', '.join(bands)} but the file has an image each of "
            f"{', '.join(cutout.bands)}"
        )
    return cutout


def _place_fits(
    row: dict[str, Any], survey: Survey, image: FitsImage, bands: list[str] | None
) -> Cutout:
    """Return an image of a FITS file calibrated and north up."""
    position = (row["ra"], row["dec"]) if row.get("ra") is not None else None
    place = locate(image.header, image.pixels.shape[1:], position)
    scale = place.pixel_scale_arcsec if place else _pixel_scale(row, survey)
    pixels = calibrate(image.pixels, image.header, survey, scale)
    noise = _calibrated_noise(image, survey, scale)
    agreed = agreed_bands(bands, image.bands, survey)
    centre_xy = place.centre_xy if place else None
    cutout = _flux_cutout(row, survey, pixels, agreed, noise, centre_xy)
    cutout = replace(cutout, photometric=is_photometric(image.header))
    if place is None:
        return cutout
    upright, centre_xy = place.north_up(cutout.pixels)
    return replace(
        cutout, pixels=upright, pixel_scale_arcsec=scale, centre_xy=centre_xy, has_wcs=True
    )


def _calibrated_noise(image: FitsImage, survey: Survey, scale: float) -> np.ndarray | None:
    if image.noise is None or image.noise_headers is None:
        return None
    planes = len(image.noise)
    try:
        factors = [flux_factors(own, survey, scale, planes) for own in image.noise_headers]
    except CutoutError as error:
        raise CutoutError(f"noise: {error}") from error
    return np.asarray(image.noise * np.diag(factors))


def _flux_cutout(
    row: Mapping[str, Any],
    survey: Survey,
    pixels: np.ndarray,
    bands: Sequence[str] | None,
    noise: np.ndarray | None = None,
    centre_xy: tuple[float, float] | None = None,
) -> Cutout:
    """Return a cutout of the planes whose bands the survey has; by default of its middle."""
    centre_xy = centre_xy or _middle(pixels)
    check_core(pixels, centre_xy)
    matched = match_bands(bands, pixels.shape[0], survey)
    kept = [plane for plane, band in enumerate(matched) if band is not None]
    return Cutout(
        pixels=pixels if len(kept) == len(pixels) else pixels[kept],
        bands=tuple(band for band in matched if band is not None),
        pixel_scale_arcsec=_pixel_scale(row, survey),
        centre_xy=centre_xy,
        noise=None if noise is None else tuple(noise[kept].tolist()),
    )


def check_core(pixels: np.ndarray, centre_xy: tuple[float, float]) -> None:
    """Refuse (planes, y, x) flux that is infinite at the galaxy."""
    x, y = (max(0, round(value) - _CORE_PX) for value in centre_xy)
    if np.isinf(pixels[:, y : y + 2 * _CORE_PX + 1, x : x + 2 * _CORE_PX + 1]).any():
        raise CutoutError("the flux at the galaxy is infinite; mask the pixels that are saturated",
                          status="failed_quality")  # fmt: skip


def _colour_cutout(row: dict[str, Any], survey: Survey, picture: Picture) -> Cutout:
    stretch = survey.stretch_of(row.get("stretch"))
    return Cutout(
        pixels=picture.colour[:, ::-1],  # pictures start at the top
        bands=stretch.planes,
        pixel_scale_arcsec=_pixel_scale(row, survey),
        centre_xy=_middle(picture.colour),
        stretch=stretch,
        missing=None if picture.missing is None else picture.missing[::-1],
    )


def _pixel_scale(row: Mapping[str, Any], survey: Survey) -> float:
    return float(row.get("pixel_scale_arcsec") or survey.pixel_scale_arcsec)


def _row_bands(row: dict[str, Any], survey: Survey) -> list[str] | None:
    bands = row.get("bands")
    if not bands:
        return None
    if isinstance(bands, str):
        return split_bands(bands, survey)
    return [str(band).strip() for band in bands]


def _middle(pixels: np.ndarray) -> tuple[float, float]:
    return (pixels.shape[-1] - 1) / 2, (pixels.shape[-2] - 1) / 2
