"""Multimodal Universe: HDF5 files in folders ``healpix=NUMBER``, as its archive distributes them.

Each file holds ``image_band`` and ``image_array`` (or ``image_flux``) with ``image_psf_fwhm`` and
``image_scale`` per plane, and a catalogue column in every other dataset of one dimension. Its
Parquet and HATS versions are read by `catalogs.datasets.shards`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.datasets.options import ImageSetOptions
from catalogs.datasets.shards import BATCH_ROWS, ImageSet, write_set
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import Location, exists, is_folder, list_files
from galaxy_da.surveys import find_survey

LAYOUT = "Multimodal Universe"

_BAND, _FLUX = "image_band", ("image_array", "image_flux")
_NUMBERS = {"psf_fwhm": "image_psf_fwhm", "scale": "image_scale"}


def multimodal_files(source: Location) -> list[Location]:
    """Return the HDF5 files of a set, none if the place holds no such set."""
    import h5py

    places = [source] if exists(source) else sorted(list_files(source)) if is_folder(source) else []
    files = [file for file in places if file.suffix.lower() in (".hdf5", ".h5")]
    if not files:
        return []
    copy = local_copy(files[0])
    if not h5py.is_hdf5(copy):
        return []
    with h5py.File(copy, "r") as first:
        return files if _BAND in first and any(name in first for name in _FLUX) else []


def write_multimodal(
    source: Location, out: Location, survey: str, options: ImageSetOptions
) -> dict[str, Any]:
    """Write a sample table that carries the images of Multimodal Universe HDF5 files.

    Band, flux, PSF and scale are kept; masks and inverse variances are not.
    """
    files = multimodal_files(source)
    catalog = pa.concat_tables([_catalog(file) for file in files], promote_options="default")
    found = ImageSet(catalog, _images(files), LAYOUT)
    return write_set(source, out, find_survey(survey).name, options, found)


def _catalog(path: Location) -> pa.Table:
    import h5py

    with h5py.File(local_copy(path), "r") as file:
        rows = file[_BAND].shape[0]
        names = [name for name in file if file[name].shape == (rows,) and name[:6] != "image_"]
        return pa.table({name: pa.array(_values(file[name][:])) for name in names})


def _values(values: np.ndarray) -> np.ndarray | list[str]:
    """Return values that Arrow holds, bytes as text."""
    if values.dtype.kind in "SO":
        return [one.decode() if isinstance(one, bytes) else str(one) for one in values]
    return values.astype(values.dtype.newbyteorder("="))


def _images(files: Sequence[Location]) -> Iterator[pa.Array]:
    import h5py

    for path in files:
        with h5py.File(local_copy(path), "r") as file:
            flux = next(file[name] for name in _FLUX if name in file)
            for low in range(0, len(flux), BATCH_ROWS):
                rows = slice(low, low + BATCH_ROWS)
                fields = {"band": file[_BAND][rows], "flux": flux[rows].astype(np.float32)}
                for name, key in _NUMBERS.items():
                    if key in file:
                        fields[name] = file[key][rows].astype(np.float32)
                fields = {name: _nested(values) for name, values in fields.items()}
                yield pa.StructArray.from_arrays(list(fields.values()), list(fields))


def _nested(cube: np.ndarray) -> pa.Array:
    """Convert an array to nested lists, one level for each axis but the first."""
    values = pa.array(_values(cube.ravel()))
    for size in cube.shape[:0:-1]:
        offsets = np.arange(0, len(values) + 1, size, dtype=np.int32)
        values = pa.ListArray.from_arrays(offsets, values)
    return values
