"""Read cutouts: FITS (cube, or a file per band), JPEG/PNG, HDF5, NumPy, and images inside Parquet.

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

From an object store images are read whole, several at once; HDF5 and NumPy files are copied to this
machine first.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_da.errors import CutoutError, SurveyError
from galaxy_da.io.storage import Location, exists, local_copy, read_bytes, resolve
from galaxy_da.surveys import Survey

__all__ = ["Cutout", "read_cutout", "read_cutouts", "read_image"]

_FITS_MAGIC = b"SIMPLE"
_MAX_ROTATION_DEG = 0.5
_HDF5_LOCK = Lock()
_NPY_LOCK = Lock()
"""NumPy parses headers as Python; in threads CPython 3.11.7 was seen to fail at that."""
_REQUESTS = 16
"""Images asked of a store at once."""


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """The pixels of one galaxy in one survey, north up and east left.

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
        Whether `pixels` went through the survey's stretch.
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
        Where relative URIs start.
    survey : Survey
        What the rows are images of.

    Returns
    -------
    list of Cutout or CutoutError
        In row order; an image that cannot be used is its error.

    Raises
    ------
    SurveyError
        If the rows are colour images and the survey documents no stretch.
    StorageError
        If the store they are in fails.
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
    with ThreadPoolExecutor(_REQUESTS) as pool:
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
        Where a relative URI starts.
    survey : Survey
        What the image is of.
    image : pa.Scalar, optional
        Value of the ``image`` column, used where it is not null.

    Raises
    ------
    CutoutError
        If the image is missing, corrupt, truncated, lacks a band, or does not hold the galaxy.
    SurveyError
        If it is a colour image and the survey documents no stretch.
    """
    if image is not None and image.is_valid:
        return _read_embedded(row, survey, image)
    uri = row.get("cutout")
    if not uri:
        raise CutoutError("the row has no image", status="no_data")
    path, _, item = str(uri).partition("#")
    if "{band}" in path:
        return _read_band_files(row, survey, folder, path)
    file = resolve(folder, path)
    suffix = file.suffix.lower()
    if suffix in (".npy", ".h5", ".hdf5"):
        pixels = _read_array_row(file, item)
        if pixels.dtype == np.uint8:
            return _colour(row, survey, np.moveaxis(pixels, -1, 0))
        return _flux(row, survey, pixels, _row_bands(row))
    return _read_encoded(row, survey, _read_bytes(file))


def read_image(source: Location | bytes, survey: Survey) -> Cutout:
    """Read one FITS, JPEG or PNG file whose galaxy is in the middle.

    Parameters
    ----------
    source : Location or bytes
        The file, or what is in it.
    survey : Survey
        What it is an image of.

    Raises
    ------
    CutoutError
        If it cannot be read.
    """
    data = source if isinstance(source, bytes) else _read_bytes(source)
    return _read_encoded({}, survey, data)


def _read_bytes(path: Location) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise CutoutError(f"{path.name}: {error.strerror or error}") from error


def _read_encoded(row: dict[str, Any], survey: Survey, data: bytes) -> Cutout:
    if not data:
        raise CutoutError("the image is empty (0 bytes)", status="no_data")
    if data.startswith(_FITS_MAGIC):
        return _read_fits(row, survey, data, _row_bands(row))
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CutoutError(f"not a readable FITS, JPEG or PNG image ({error})") from error
    if pixels.ndim != 3 or pixels.shape[2] < 3 or pixels.dtype != np.uint8:
        raise CutoutError(
            f"a colour image must have 3 planes of 8 bits but has shape {pixels.shape}, "
            f"{pixels.dtype}"
        )
    return _colour(row, survey, np.moveaxis(pixels[..., :3], -1, 0))


def _colour(row: dict[str, Any], survey: Survey, pixels: np.ndarray) -> Cutout:
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


def _flux(
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
        bands=_match_bands(bands, pixels.shape[0], survey),
        pixel_scale_arcsec=(
            pixel_scale_arcsec or row.get("pixel_scale_arcsec") or survey.pixel_scale_arcsec
        ),
        centre_xy=_middle(pixels),
    )


def _match_bands(bands: Sequence[str] | None, planes: int, survey: Survey) -> tuple[str, ...]:
    """Names of the planes as the survey spells them ('HSC-G' is its 'g')."""
    if bands is None:
        if planes != len(survey.bands):
            raise CutoutError(
                f"has {planes} planes but {survey.name} has {len(survey.bands)} bands "
                f"({', '.join(survey.band_names)}) and neither header nor table names them; add a "
                "'bands' column"
            )
        return survey.band_names
    if len(bands) != planes:
        raise CutoutError(f"has {planes} planes but is said to hold bands {', '.join(bands)}")
    return tuple(_match_band(band, survey) for band in bands)


def _match_band(band: str, survey: Survey) -> str:
    exact = {name: name for name in survey.band_names}
    folded = {name.lower(): name for name in reversed(survey.band_names)}
    last = band.replace("_", "-").rsplit("-", 1)[-1]
    found = exact.get(band) or exact.get(last) or folded.get(last.lower())
    if found is None:
        raise CutoutError(
            f"band {band!r} is not in {survey.name}; it has {', '.join(survey.band_names)}"
        )
    return found


def _row_bands(row: dict[str, Any]) -> list[str] | None:
    bands = row.get("bands")
    return [band.strip() for band in bands.split(",")] if bands else None


def _middle(pixels: np.ndarray) -> tuple[float, float]:
    return (pixels.shape[-1] - 1) / 2, (pixels.shape[-2] - 1) / 2


# FITS


def _read_fits(row: dict[str, Any], survey: Survey, data: bytes, bands: list[str] | None) -> Cutout:
    from astropy.io import fits

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(io.BytesIO(data), memmap=False, lazy_load_hdus=True) as hdus:
                hdu = next((h for h in hdus if h.is_image and h.header.get("NAXIS", 0) >= 2), None)
                if hdu is None:
                    raise CutoutError("the FITS file holds no image")
                header, pixels = hdu.header, np.asarray(hdu.data, dtype=np.float32)
    except (OSError, TypeError, ValueError, KeyError, fits.VerifyError) as error:
        raise CutoutError(f"corrupt or truncated FITS ({error})") from error
    _check_unit(header, survey)
    if survey.exposure_keyword:
        pixels = pixels / _exposure(header, survey.exposure_keyword)
    cutout = _flux(row, survey, pixels, bands or _header_bands(header, survey))
    return _place_on_sky(cutout, row, header)


def _header_bands(header: Any, survey: Survey) -> list[str] | None:
    numbered = [str(header[f"BAND{i}"]).strip() for i in range(100) if f"BAND{i}" in header]
    if numbered:
        return numbered
    if "BANDS" in header:
        text = str(header["BANDS"]).strip()
        return text.split(",") if "," in text else list(text)
    for card in ("BAND", "FILTER"):
        name = str(header.get(card, "")).split()
        if name and len(survey.bands) > 1:
            return [name[0]]
    return None


def _check_unit(header: Any, survey: Survey) -> None:
    unit = str(header.get("BUNIT", "")).strip().lower()
    known = {"nanomaggy": "nanomaggy", "nanomaggies": "nanomaggy", "njy": "nJy", "ujy": "uJy"}
    if unit in known and known[unit] != survey.flux_unit:
        raise CutoutError(
            f"BUNIT says {header['BUNIT']!r} but {survey.name} is defined in {survey.flux_unit!r} "
            f"(zeropoint {survey.zeropoint_mag}); fix the survey definition or the files"
        )


def _exposure(header: Any, keyword: str) -> float:
    value = header.get(keyword)
    if not isinstance(value, int | float) or not value > 0:
        raise CutoutError(f"needs the exposure time in card {keyword} but it is {value!r}")
    return float(value)


def _place_on_sky(cutout: Cutout, row: dict[str, Any], header: Any) -> Cutout:
    """Use the WCS, where there is one, for pixel scale, centre and orientation."""
    if not str(header.get("CTYPE1", "")).startswith(("RA", "GLON", "ELON")):
        return cutout
    from astropy.wcs import WCS, FITSFixedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(header, naxis=2)
    matrix = wcs.pixel_scale_matrix * 3600  # (east-or-west, north) arcsec per (x, y) pixel
    scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    height, width = cutout.pixels.shape[1:]
    x, y = cutout.centre_xy
    if "ra" in row:
        x, y = (float(v) for v in wcs.world_to_pixel_values(row["ra"], row["dec"]))
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        raise CutoutError(
            f"ra {row['ra']:.5f}, dec {row['dec']:.5f} lies at pixel ({x:.0f}, {y:.0f}) of a "
            f"{width} x {height} stamp by its WCS: another galaxy's file, or a wrong header",
            status="no_data",
        )
    upright = np.array([[-scale, 0.0], [0.0, scale]])
    turn = np.linalg.solve(matrix, upright)  # upright pixel offsets to this file's
    if abs(np.degrees(np.arctan2(turn[0, 1], turn[0, 0]))) < _MAX_ROTATION_DEG and (
        np.linalg.det(turn) > 0
    ):
        return Cutout(
            pixels=cutout.pixels,
            bands=cutout.bands,
            pixel_scale_arcsec=scale,
            centre_xy=(x, y),
        )
    return _rotate(cutout, turn, scale, (x, y))


def _rotate(
    cutout: Cutout, turn: np.ndarray, scale: float, centre_xy: tuple[float, float]
) -> Cutout:
    """Resample a rotated or mirrored stamp onto north up, east left, galaxy in the middle."""
    from scipy.ndimage import affine_transform

    side = max(cutout.pixels.shape[1:])
    middle = (side - 1) / 2
    matrix = turn[::-1, ::-1]  # (y, x) order
    offset = np.array(centre_xy[::-1]) - matrix @ np.full(2, middle)
    pixels = np.stack(
        [
            affine_transform(plane, matrix, offset, (side, side), order=1, cval=np.nan)
            for plane in cutout.pixels
        ]
    )
    return Cutout(
        pixels=pixels,
        bands=cutout.bands,
        pixel_scale_arcsec=scale,
        centre_xy=(middle, middle),
    )


def _read_band_files(row: dict[str, Any], survey: Survey, folder: Location, pattern: str) -> Cutout:
    def file(band: str) -> Location:
        return resolve(folder, pattern.format(band=band))

    bands = _row_bands(row) or [name for name in survey.band_names if exists(file(name))]
    if not bands:
        raise CutoutError(f"{pattern}: no file for any band of {survey.name}")
    parts = [_read_fits(row, survey, _read_bytes(file(band)), [band]) for band in bands]
    return _stack_bands(parts)


def _stack_bands(parts: list[Cutout]) -> Cutout:
    """Put bands with their own pixel grids onto the first band's."""
    first = parts[0]
    planes = [first.pixels]
    for part in parts[1:]:
        shift = np.subtract(part.centre_xy, first.centre_xy)
        same_grid = (
            part.pixels.shape == first.pixels.shape
            and abs(part.pixel_scale_arcsec / first.pixel_scale_arcsec - 1) < 1e-3
            and np.abs(shift).max() < 0.01
        )
        planes.append(part.pixels if same_grid else _regrid(part, first))
    return Cutout(
        pixels=np.concatenate(planes),
        bands=tuple(band for part in parts for band in part.bands),
        pixel_scale_arcsec=first.pixel_scale_arcsec,
        centre_xy=first.centre_xy,
    )


def _regrid(part: Cutout, onto: Cutout) -> np.ndarray:
    from scipy.ndimage import affine_transform

    ratio = onto.pixel_scale_arcsec / part.pixel_scale_arcsec
    offset = np.array(part.centre_xy[::-1]) - ratio * np.array(onto.centre_xy[::-1])
    shape = onto.pixels.shape[1:]
    plane = affine_transform(part.pixels[0], np.full(2, ratio), offset, shape, order=1, cval=np.nan)
    return np.asarray(plane * ratio**2)[None]


# Arrays and nested columns


def _read_array_row(file: Location, item: str) -> np.ndarray:
    if not item.isdigit():
        raise CutoutError(f"{file.name}: name a row, as in {file.name}#17, not {item!r}")
    try:
        path = local_copy(file)
        stamp = path.stat()
        if path.suffix == ".npy":
            with _NPY_LOCK:
                images = _open_npy(path, stamp.st_mtime_ns, stamp.st_size)
            return np.asarray(images[int(item)])
        with _HDF5_LOCK:
            images = _open_hdf5(path, stamp.st_mtime_ns, stamp.st_size)["images"]
            return np.asarray(images[int(item)])
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise CutoutError(f"{file.name}#{item}: {error}") from error


@lru_cache(maxsize=16)
def _open_npy(path: Path, _changed: int, _size: int) -> np.ndarray:
    return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))


@lru_cache(maxsize=16)
def _open_hdf5(path: Path, _changed: int, _size: int) -> Any:
    import h5py

    return h5py.File(path, "r")


def _read_embedded(row: dict[str, Any], survey: Survey, image: pa.Scalar) -> Cutout:
    kind = image.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _read_encoded(row, survey, image.as_py())
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return _read_encoded(row, survey, image["bytes"].as_py() or b"")
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        fields = {field.name: image.values.field(field.name) for field in kind.value_type}
    elif pa.types.is_struct(kind):
        fields = {field.name: image[field.name].values for field in kind}
    else:
        raise CutoutError(f"cannot read an image column of type {kind}")
    if not {"band", "flux"} <= fields.keys():
        raise CutoutError(f"a nested image needs 'band' and 'flux' but has {', '.join(fields)}")
    scales = fields["scale"].to_pylist() if "scale" in fields else []
    pixels = _nested_pixels(fields["flux"], len(fields["band"]))
    bands = fields["band"].to_pylist()
    return _flux(row, survey, pixels, bands, scales[0] if scales else None)


def _nested_pixels(flux: pa.Array, bands: int) -> np.ndarray:
    shape = [bands]
    while pa.types.is_nested(flux.type):
        flux = flux.flatten()
        shape.append(len(flux) // int(np.prod(shape)) if np.prod(shape) else 0)
    try:
        return np.asarray(flux, dtype=np.float32).reshape(shape)
    except ValueError as error:
        raise CutoutError(f"nested flux is not {bands} equal images ({error})") from error
