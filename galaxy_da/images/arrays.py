"""Read images from NumPy and HDF5 arrays, and from image columns of Parquet tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import CutoutError, first_line, shape_text
from galaxy_da.images.masks import noise_of
from galaxy_da.images.pictures import refuse_colour_values
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import Location
from galaxy_da.surveys import Survey

_CLEAR_SHARE = 0.2
"""Largest share of bad pixels at which a nested mask tells them from the good ones."""

_HDF5_LOCK = Lock()
_NPY_LOCK = Lock()
"""NumPy parses headers as Python, which failed in threads under CPython 3.11.7."""


def read_array(file: Location, row: str = "") -> np.ndarray:
    """Read a ``.npy`` file or one of its rows, or a row of the dataset ``images`` of an HDF5 file.

    A file in an object store is copied to this machine first.

    Raises
    ------
    CutoutError
        If `row` is no number, or missing for an HDF5 file, or the file or row cannot be read.
    """
    is_npy = file.suffix.lower() == ".npy"
    if not row.isdigit() and (row or not is_npy):
        raise CutoutError(f"{file.name}: name a row, as in {file.name}#17, not {row!r}")
    try:
        path = local_copy(file)
        stamp = path.stat()
        if is_npy:
            with _NPY_LOCK:
                images = _open_npy(path, stamp.st_mtime_ns, stamp.st_size)
            if not row and images.ndim > 3:
                raise CutoutError(f"{file.name}: name a row, as in {file.name}#17")
            return _row_of(images, row, file) if row else np.asarray(images)
        with _HDF5_LOCK:
            images = _open_hdf5(path, stamp.st_mtime_ns, stamp.st_size)["images"]
            return _row_of(images, row, file)
    except KeyError as error:
        raise CutoutError(f"{file.name}: has no dataset 'images'") from error
    except (ValueError, EOFError) as error:
        raise CutoutError(f"{file.name}: damaged, or no array of numbers") from error
    except OSError as error:
        raise CutoutError(f"{file.name}#{row}: {error.strerror or first_line(error)}") from error


def _row_of(images: Any, row: str, file: Location) -> np.ndarray:
    rows = images.shape[0] if images.ndim else 0
    if int(row) >= rows:
        raise CutoutError(f"{file.name}#{row}: the array has {rows} rows, counted from 0")
    return np.asarray(images[int(row)])


def image_planes(pixels: np.ndarray, bands: Sequence[str] | None, survey: Survey) -> np.ndarray:
    """Return an array of flux as (planes, y, x), its bands in the first or the last axis.

    Raises CutoutError if it is no image of that many bands (by default all of the survey), both
    axes could be the bands, or its numbers are no fluxes.
    """
    is_integer = pixels.dtype.kind in "iu"
    if pixels.dtype.kind not in "iuf" or (is_integer and survey.flux_unit != "count"):
        raise CutoutError(
            f"an array of {'integers' if is_integer else 'no numbers'} of shape "
            f"{shape_text(pixels.shape)} is neither flux in {survey.flux_unit} nor 8-bit colour; "
            "expected floating-point numbers, or bytes for a picture"
        )
    refuse_colour_values(pixels, survey)
    if pixels.ndim == 2:
        pixels = pixels[None]
    planes = len(bands) if bands else len(survey.bands)
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise CutoutError(
            f"expected an image or a cube of bands but has shape {shape_text(pixels.shape)}"
        )
    first, last = pixels.shape[0] == planes, pixels.shape[-1] == planes
    if first and last:
        raise CutoutError(
            f"shape {shape_text(pixels.shape)} can hold {planes} bands in its first or its last "
            "axis; reshape it to (bands, y, x) with other sides"
        )
    planar = np.moveaxis(pixels, -1, 0) if last and not first else pixels
    return planar.astype(np.float32) if planar.dtype.itemsize > 8 else planar


def image_bytes(image: pa.Scalar) -> bytes | None:
    """Return the encoded file in an image column's value, or None if it holds nested pixels."""
    if pa.types.is_binary(image.type) or pa.types.is_large_binary(image.type):
        return bytes(image.as_py())
    if pa.types.is_struct(image.type) and image.type.get_field_index("bytes") >= 0:
        return image["bytes"].as_py() or b""
    return None


@dataclass(frozen=True, kw_only=True)
class NestedImage:
    """An image of nested lists.

    Attributes
    ----------
    pixels : (planes, y, x) float32 array
        NaN where a mask or the inverse variance says so.
    bands : list of str
        Names of the planes.
    pixel_scale_arcsec : float or None
        Side of a pixel [arcsec].
    noise : (planes,) float32 array or None
        Median noise of a pixel by the inverse variance.
    """

    pixels: np.ndarray
    bands: list[str]
    pixel_scale_arcsec: float | None
    noise: np.ndarray | None


def read_nested_image(image: pa.Scalar) -> NestedImage:
    """Read an image of nested lists.

    These are a list of structs or a struct of lists: ``band``, ``flux`` and optionally ``scale``,
    ``ivar``, whose zeros mark pixels without data, and ``mask``. Some makers mask the bad pixels,
    others, such as the Multimodal Universe, the good ones: good is what most of the pixels are.

    Raises
    ------
    CutoutError
        If the type is another, a field is missing, or the bands differ in shape.
    """
    kind = image.type
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        fields = {field.name: image.values.field(field.name) for field in kind.value_type}
    elif pa.types.is_struct(kind):
        fields = {field.name: image[field.name].values for field in kind}
    else:
        raise CutoutError(f"cannot read an image column of type {kind}")
    if not {"band", "flux"} <= fields.keys():
        raise CutoutError(f"a nested image needs 'band' and 'flux' but has {', '.join(fields)}")
    bands = fields["band"].to_pylist()
    pixels = _nested_pixels(fields["flux"], len(bands))
    noise = None
    if "ivar" in fields:
        weights = _nested_pixels(fields["ivar"], len(bands))
        if weights.shape == pixels.shape:
            pixels = np.where(weights > 0, pixels, np.float32(np.nan))
            noise = noise_of(weights, "inverse variance")
    if "mask" in fields:
        pixels = np.where(_minority(_nested_pixels(fields["mask"], len(bands))), np.nan, pixels)
    scales = set(fields["scale"].to_pylist() if "scale" in fields else [])
    if len(scales) > 1:
        raise CutoutError(
            f"bands have different pixel scales ({', '.join(f'{s:g}' for s in sorted(scales))} "
            "arcsec); put them on one grid"
        )
    scale = next(iter(scales), None)
    return NestedImage(pixels=pixels, bands=bands, pixel_scale_arcsec=scale, noise=noise)


def _minority(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask that differ from most."""
    marked = mask != 0
    share = marked.mean()
    if _CLEAR_SHARE < share < 1 - _CLEAR_SHARE:
        raise CutoutError(
            f"mask marks {share:.0%} of the pixels: it could mark the good or the bad ones; set "
            "bad pixels to NaN and leave out the mask",
            status="failed_quality",
        )
    return np.asarray(marked if share < 0.5 else ~marked)


@lru_cache(maxsize=16)
def _open_npy(path: Path, _changed: int, _size: int) -> np.ndarray:
    return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))


@lru_cache(maxsize=16)
def _open_hdf5(path: Path, _changed: int, _size: int) -> Any:
    import h5py

    return h5py.File(path, "r")


def _nested_pixels(flux: pa.Array, bands: int) -> np.ndarray:
    """Return nested lists of equal length as (bands, y, x) float32."""
    shape = [bands]
    while pa.types.is_nested(flux.type):
        lengths = set(pc.list_value_length(flux).to_pylist())
        if len(lengths) != 1 or None in lengths:
            raise CutoutError(f"nested flux is not {bands} equal images: lists differ in length")
        shape.append(int(lengths.pop()))
        flux = flux.flatten()
    if len(shape) != 3:
        raise CutoutError(f"nested flux must be images of rows but has {len(shape) - 1} levels")
    return np.asarray(flux, dtype=np.float32).reshape(shape)
