"""Uploaded samples: a zip of a sample table and its images, or a table with embedded images.

A sample must not name files outside its folder or exceed the limits once decoded. HDF5 is refused,
because an HDF5 file can read other files. The job's process is sealed besides
(`galaxy_da.io.containment`), so that what is opened later is contained too.
"""

from __future__ import annotations

import math
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import CutoutError
from galaxy_da.io.containment import Box
from galaxy_da.io.files import ensure_folder
from galaxy_da.io.samples import Sample
from galaxy_da.service.errors import RequestError
from galaxy_da.service.limits import Limits
from galaxy_da.service.uploads.images import check_image

_TABLE = "sample.parquet"
_PARQUET, _ZIP = b"PAR1", b"PK\x03\x04"
_BAND_NAMES = re.compile(r"[A-Za-z0-9_.+',\- ]*")
_SURVEY_NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,63}")
_BATCH_ROWS = 64


def check_kind(name: str, path: Path, limits: Limits) -> None:
    """Refuse a file of the wrong kind for its form field (415).

    A zip must not be too large (413), broken, or name files outside its folder (422).
    """
    magic, size = _magic(path), path.stat().st_size
    if name == "survey" and size > limits.body_bytes:
        raise RequestError(413, f"survey: has {size} bytes; {limits.body_bytes} are allowed")
    if name == "survey" or magic == _PARQUET:
        return
    if name == "pairs" or magic != _ZIP:
        kinds = "a Parquet table" if name == "pairs" else "a zip or a Parquet table"
        raise RequestError(415, f"{name}: expected {kinds}")
    _members(path, limits)


def unpack_sample(path: Path, folder: Path, limits: Limits) -> Path:
    """Unpack an uploaded sample into an empty folder; return the path of its table."""
    shutil.rmtree(folder, ignore_errors=True)
    ensure_folder(folder)
    if _magic(path) == _PARQUET:
        return Path(shutil.copyfile(path, folder / _TABLE))
    members = _members(path, limits)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder, members)
    tables = sorted(folder.rglob(_TABLE), key=lambda path: len(path.parts))
    if not tables:
        raise RequestError(422, f"the zip has no {_TABLE}")
    return tables[0]


def check_sample(table: Path, limits: Limits) -> None:
    """Refuse a sample whose images lie outside its folder, or are too large once decoded."""
    sample = Sample(table)
    for survey in _different(sample.catalog, "survey"):
        if not _SURVEY_NAME.fullmatch(survey):
            raise RequestError(422, f"survey {survey!r} is not the name of a survey")
    for bands in _different(sample.catalog, "bands"):
        if not _BAND_NAMES.fullmatch(bands):
            raise RequestError(422, f"bands {bands!r} is not a list of names")
    uris = _different(sample.catalog, "cutout")
    for path in sorted({uri.partition("#")[0] for uri in uris}):
        for file in _cutout_files(path, table.parent):
            _check_file(file, limits)
    for rows in sample.batches(_BATCH_ROWS):
        if "image" in rows.column_names:
            _check_nested(rows["image"].combine_chunks(), limits)
            for data in _embedded(rows["image"]):
                check_image(data, limits)


def _magic(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(4)


def _different(table: pa.Table, column: str) -> list[str]:
    """Return the different texts of a column; none if the table does not have it."""
    if column not in table.column_names:
        return []
    texts: list[str] = pc.unique(table[column].cast(pa.string())).drop_null().to_pylist()
    return texts


def _members(path: Path, limits: Limits) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise RequestError(422, f"the zip cannot be read ({error})") from error
    # zipfile reads no member beyond the size in its entry
    size = sum(member.file_size for member in members)
    if len(members) > limits.unpacked_files or size > limits.unpacked_bytes:
        raise RequestError(
            413,
            f"the zip holds {len(members)} files with {size} bytes in all; the limits are "
            f"{limits.unpacked_files} files and {limits.unpacked_bytes} bytes",
        )
    for member in members:
        _check_inside(member.filename)
        if member.flag_bits & 1:
            raise RequestError(422, "the zip is encrypted")
    return members


def _check_inside(name: str) -> None:
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or not path.parts
    if outside or set(name) & set("\\:\0"):
        raise RequestError(422, f"{name!r} does not lie in the folder of the table")


def _cutout_files(path: str, folder: Path) -> Iterator[Path]:
    """Yield the files that a cutout path stands for."""
    _check_inside(path)
    plain = path.replace("{band}", "")
    if set(plain) & set("{}"):
        raise RequestError(422, f"{path!r}: only {{band}} may be in braces")
    box = Box(folder)
    try:
        if plain == path:
            yield box.path(path)
            return
        start, _, end = path.partition("{band}")
        for file in box.path(start + "x").parent.rglob("*"):
            if str(file.relative_to(folder.resolve())).startswith(start) and file.name.endswith(
                end
            ):
                yield box.path(str(file))
    except CutoutError as error:
        raise RequestError(422, str(error)) from error


def _check_file(file: Path, limits: Limits) -> None:
    if not file.is_file():
        return  # extraction records the missing file in the row's status
    if file.suffix.lower() != ".npy":
        check_image(file.read_bytes(), limits)
        return
    try:
        shape = np.load(file, mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError) as error:
        raise RequestError(422, f"{file.name}: cannot be read ({error})") from error
    if max(shape[1:], default=0) > limits.image_side or math.prod(shape[1:]) > limits.image_pixels:
        raise RequestError(413, f"{file.name}: the images have the shape {shape[1:]}")


def _check_nested(images: pa.Array, limits: Limits) -> None:
    """Refuse a row whose nested lists hold more values than an image may have pixels."""
    for row in range(len(images)):
        values = _leaves(images.slice(row, 1))
        if values > limits.image_pixels:
            raise RequestError(
                413, f"a nested image has {values} pixels; {limits.image_pixels} are allowed"
            )


def _leaves(array: pa.Array) -> int:
    """Return the largest number of values of a field of nested lists and structs."""
    if pa.types.is_struct(array.type):
        return max(map(_leaves, array.flatten()), default=0)
    if pa.types.is_nested(array.type) and hasattr(array, "flatten"):
        return _leaves(array.flatten())
    return len(array)


def _embedded(column: pa.ChunkedArray) -> Iterator[bytes]:
    """Yield the image files embedded in a column; nested fluxes are not files."""
    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        yield from (data for data in column.drop_null().to_pylist() if data)
