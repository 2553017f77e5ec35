"""Read images from NumPy and HDF5 arrays, and from image columns of Parquet tables."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_da.errors import CutoutError
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import Location

__all__ = ["image_bytes", "read_array_row", "read_nested_image"]

_HDF5_LOCK = Lock()
_NPY_LOCK = Lock()
"""NumPy parses headers as Python, which failed in threads under CPython 3.11.7."""


def read_array_row(file: Location, row: str) -> np.ndarray:
    """Read a row of a ``.npy`` file, or of the dataset ``images`` of an HDF5 file.

    A file in an object store is copied to this machine first.

    Raises
    ------
    CutoutError
        If `row` is no number, or the file or row cannot be read.
    """
    if not row.isdigit():
        raise CutoutError(f"{file.name}: name a row, as in {file.name}#17, not {row!r}")
    try:
        path = local_copy(file)
        stamp = path.stat()
        if path.suffix == ".npy":
            with _NPY_LOCK:
                images = _open_npy(path, stamp.st_mtime_ns, stamp.st_size)
            return np.asarray(images[int(row)])
        with _HDF5_LOCK:
            images = _open_hdf5(path, stamp.st_mtime_ns, stamp.st_size)["images"]
            return np.asarray(images[int(row)])
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise CutoutError(f"{file.name}#{row}: {error}") from error


def image_bytes(image: pa.Scalar) -> bytes | None:
    """Return the encoded file in an image column's value, or None if it holds nested pixels."""
    if pa.types.is_binary(image.type) or pa.types.is_large_binary(image.type):
        return bytes(image.as_py())
    if pa.types.is_struct(image.type) and image.type.get_field_index("bytes") >= 0:
        return image["bytes"].as_py() or b""
    return None


def read_nested_image(image: pa.Scalar) -> tuple[np.ndarray, list[str], float | None]:
    """Return pixels (bands, y, x), bands and pixel scale [arcsec] of nested lists.

    These are a list of structs or a struct of lists: ``band``, ``flux`` and optionally ``scale``.

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
    scales = fields["scale"].to_pylist() if "scale" in fields else []
    bands = fields["band"].to_pylist()
    return _nested_pixels(fields["flux"], len(bands)), bands, scales[0] if scales else None


@lru_cache(maxsize=16)
def _open_npy(path: Path, _changed: int, _size: int) -> np.ndarray:
    return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))


@lru_cache(maxsize=16)
def _open_hdf5(path: Path, _changed: int, _size: int) -> Any:
    import h5py

    return h5py.File(path, "r")


def _nested_pixels(flux: pa.Array, bands: int) -> np.ndarray:
    shape = [bands]
    while pa.types.is_nested(flux.type):
        flux = flux.flatten()
        shape.append(len(flux) // int(np.prod(shape)) if np.prod(shape) else 0)
    try:
        return np.asarray(flux, dtype=np.float32).reshape(shape)
    except ValueError as error:
        raise CutoutError(f"nested flux is not {bands} equal images ({error})") from error
