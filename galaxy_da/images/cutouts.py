"""Read cutouts from image files, array files, and image columns of Parquet tables.

A ``cutout`` URI is relative to its sample table, an absolute path, or a URL:

================================  ===============================================================
``cube.fits``                     all bands in one file, plane names in ``BANDS``, ``BANDn``,
                                  ``BAND`` or ``FILTER`` cards
``G12_{band}.fits``               one file per band
``stamp.jpg``, ``stamp.png``      colour, through the survey's documented stretch
``Galaxy10_DECals.h5#17``         row 17 of the dataset ``images`` (y, x, 3)
``cutouts.npy#17``                row 17 of a (n, bands, y, x) array, memory-mapped
================================  ===============================================================

An ``image`` column holds the bytes of a FITS, JPEG or PNG file, the Hugging Face ``{bytes, path}``,
or nested ``band`` and ``flux`` lists as in the Multimodal Universe.

Each cutout takes the same steps: read the pixels, calibrate them, name their bands, place them on
the sky.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_da.errors import CutoutError, SurveyError
from galaxy_da.images.arrays import image_bytes, read_array_row, read_nested_image
from galaxy_da.images.bands import header_bands, match_bands
from galaxy_da.images.calibration import calibrate
from galaxy_da.images.fits import FITS_MAGIC, read_fits
from galaxy_da.images.pictures import read_picture
from galaxy_da.images.wcs import place_north_up, regrid
from galaxy_da.io.storage import Location, exists, read_bytes, resolve
from galaxy_da.surveys import Survey

__all__ = ["Cutout", "read_cutout", "read_cutouts", "read_image"]

_CONCURRENT_REQUESTS = 16


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """Pixels of one galaxy in one survey, north up and east left.

    Attributes
    ----------
    pixels : (planes, y, x) array
        Flux in the survey's unit per pixel, or uint8 colour; the first row is the southernmost.
    bands : tuple of str
        The survey's band of each plane.
    pixel_scale_arcsec : float
        Side of a pixel [arcsec].
    centre_xy : (x, y) float
        Pixel coordinates of the galaxy; the centre of the first pixel is (0, 0).
    is_colour : bool
        True if `pixels` went through the survey's stretch.
    """

    pixels: np.ndarray
    bands: tuple[str, ...]
    pixel_scale_arcsec: float
    centre_xy: tuple[float, float]
    is_colour: bool = False


def read_cutouts(table: pa.Table, folder: Location, survey: Survey) -> list[Cutout | CutoutError]:
    """Read the cutouts of some rows of a sample table.

    Parameters
    ----------
    table : pa.Table
        Rows of one survey, with ``cutout`` or ``image``; ``bands`` (comma-separated names) and
        ``pixel_scale_arcsec`` are used where present.
    folder : Location
        Base of relative URIs. From an object store, several images are read at once.
    survey : Survey
        Survey of the images.

    Returns
    -------
    list of Cutout or CutoutError
        In row order; the error of an image that cannot be used.

    Raises
    ------
    SurveyError
        If the rows are colour images and the survey documents no stretch.
    StorageError
        If the object store fails.
    """
    columns = {
        name: table[name].to_pylist()
        for name in ("ra", "dec", "cutout", "pixel_scale_arcsec", "bands")
        if name in table.column_names
    }
    images = table["image"] if "image" in table.column_names else None

    def read(i: int) -> Cutout | CutoutError:
        row = {name: values[i] for name, values in columns.items()}
        try:
            return read_cutout(row, folder, survey, None if images is None else images[i])
        except CutoutError as error:
            return error

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
        ``ra``, ``dec`` [ICRS deg]; ``cutout``, ``bands`` and ``pixel_scale_arcsec`` where known.
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
    if image is not None and image.is_valid:
        return _read_image_column(row, survey, image)
    uri = row.get("cutout")
    if not uri:
        raise CutoutError("the row has no image", status="no_data")
    path, _, item = str(uri).partition("#")
    if "{band}" in path:
        return _read_band_files(row, survey, folder, path)
    file = resolve(folder, path)
    if file.suffix.lower() not in (".npy", ".h5", ".hdf5"):
        return _read_encoded(row, survey, _read_file(file))
    pixels = read_array_row(file, item)
    if pixels.dtype == np.uint8:
        return _colour_cutout(row, survey, np.moveaxis(pixels, -1, 0))
    return _flux_cutout(row, survey, pixels, _row_bands(row))


def read_image(source: Location | bytes, survey: Survey) -> Cutout:
    """Read one FITS, JPEG or PNG file whose galaxy is in the middle.

    Parameters
    ----------
    source : Location or bytes
        File, or its content.
    survey : Survey
        Survey of the image.

    Raises
    ------
    CutoutError
        If it cannot be read.
    SurveyError
        If it is a colour image and the survey documents no stretch.
    """
    return _read_encoded({}, survey, source if isinstance(source, bytes) else _read_file(source))


def _read_file(path: Location) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise CutoutError(f"{path.name}: {error.strerror or error}") from error


def _read_encoded(row: dict[str, Any], survey: Survey, data: bytes) -> Cutout:
    if not data:
        raise CutoutError("the image is empty (0 bytes)", status="no_data")
    if data.startswith(FITS_MAGIC):
        return _fits_cutout(row, survey, data, _row_bands(row))
    return _colour_cutout(row, survey, read_picture(data))


def _read_image_column(row: dict[str, Any], survey: Survey, image: pa.Scalar) -> Cutout:
    data = image_bytes(image)
    if data is not None:
        return _read_encoded(row, survey, data)
    pixels, bands, pixel_scale = read_nested_image(image)
    return _flux_cutout(row, survey, pixels, bands, pixel_scale)


def _read_band_files(row: dict[str, Any], survey: Survey, folder: Location, pattern: str) -> Cutout:
    """Read one file per band; bands on other pixel grids are put onto the first band's."""

    def file(band: str) -> Location:
        return resolve(folder, pattern.format(band=band))

    bands = _row_bands(row) or [name for name in survey.band_names if exists(file(name))]
    if not bands:
        raise CutoutError(f"{pattern}: no file for any band of {survey.name}")
    first, *others = (_fits_cutout(row, survey, _read_file(file(band)), [band]) for band in bands)
    pixels = np.concatenate([first.pixels, *(_on_grid_of(first, part) for part in others)])
    return replace(first, pixels=pixels, bands=sum((p.bands for p in others), first.bands))


def _on_grid_of(first: Cutout, part: Cutout) -> np.ndarray:
    ratio = first.pixel_scale_arcsec / part.pixel_scale_arcsec
    shape = first.pixels.shape[1:]
    shift = np.subtract(part.centre_xy, first.centre_xy)
    same_scale = abs(part.pixel_scale_arcsec / first.pixel_scale_arcsec - 1) < 1e-3
    if part.pixels.shape[1:] == shape and same_scale and np.abs(shift).max() < 0.01:
        return part.pixels
    return regrid(part.pixels, part.centre_xy, shape, first.centre_xy, ratio)


def _fits_cutout(
    row: dict[str, Any], survey: Survey, data: bytes, bands: list[str] | None
) -> Cutout:
    pixels, header = read_fits(data)
    pixels = calibrate(pixels, header, survey)
    cutout = _flux_cutout(row, survey, pixels, bands or header_bands(header, survey))
    position = (row["ra"], row["dec"]) if "ra" in row else None
    placed = place_north_up(cutout.pixels, header, position)
    if placed is None:
        return cutout
    pixels, pixel_scale, centre_xy = placed
    return replace(cutout, pixels=pixels, pixel_scale_arcsec=pixel_scale, centre_xy=centre_xy)


def _flux_cutout(
    row: dict[str, Any],
    survey: Survey,
    pixels: np.ndarray,
    bands: Sequence[str] | None,
    pixel_scale_arcsec: float | None = None,
) -> Cutout:
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise CutoutError(f"expected an image or a cube of bands but has shape {pixels.shape}")
    return Cutout(
        pixels=pixels,
        bands=match_bands(bands, pixels.shape[0], survey),
        pixel_scale_arcsec=(
            pixel_scale_arcsec or row.get("pixel_scale_arcsec") or survey.pixel_scale_arcsec
        ),
        centre_xy=_middle(pixels),
    )


def _colour_cutout(row: dict[str, Any], survey: Survey, pixels: np.ndarray) -> Cutout:
    if survey.stretch is None:
        raise SurveyError(
            f"{survey.name}: colour images (JPEG, PNG) of this survey cannot become fluxes, its "
            "definition documents no stretch; use FITS, or add a [stretch] to a survey file"
        )
    return Cutout(
        pixels=pixels[:, ::-1],  # pictures start with the top row, sky images with the south
        bands=survey.stretch.planes,
        pixel_scale_arcsec=row.get("pixel_scale_arcsec") or survey.pixel_scale_arcsec,
        centre_xy=_middle(pixels),
        is_colour=True,
    )


def _row_bands(row: dict[str, Any]) -> list[str] | None:
    bands = row.get("bands")
    return [band.strip() for band in bands.split(",")] if bands else None


def _middle(pixels: np.ndarray) -> tuple[float, float]:
    return (pixels.shape[-1] - 1) / 2, (pixels.shape[-2] - 1) / 2
