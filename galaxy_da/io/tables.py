"""The tables the packages meet through: samples, pairs and features.

All are Parquet, readable without this library. What describes a whole table (match parameters, the
hash of a space) is JSON under the key ``galaxy_da`` of the schema metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntFlag
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.files import atomic_path
from galaxy_da.io.storage import (
    Location,
    PathOrUrl,
    exists,
    location,
    parquet_source,
    store_errors,
    with_store_errors,
)

__all__ = [
    "IMAGE_COLUMNS",
    "STATUSES",
    "Flag",
    "Sample",
    "check_positions",
    "check_unique",
    "open_parquet",
    "read_metadata",
    "read_pairs",
    "read_table",
    "slice_tables",
    "validate_pairs",
    "validate_sample",
    "with_metadata",
    "write_table",
]

STATUSES = (
    "ok",
    "outside_footprint",
    "no_data",
    "failed_quality",
    "fetch_failed",
    "unreadable",
)
"""What can be said of a row's cutout. Only ``ok`` rows have an embedding."""

IMAGE_COLUMNS = ("cutout", "image")
"""Where a sample table keeps its pixels: a URI, or the image itself."""

_METADATA_KEY = b"galaxy_da"


class Flag(IntFlag):
    """Quality of a prepared cutout, as a bitmask column. Zero is a clean cutout."""

    NAN_PIXELS = 1
    """Some pixels inside the field of view are not finite; they were left out."""
    SATURATED = 2
    """Some pixels of a JPEG or PNG are at full scale, where the stretch cannot be inverted."""
    BLANK_BAND = 4
    """A whole band is constant or not finite."""
    PARTIAL_COVERAGE = 8
    """The stamp does not cover the frame's whole field of view."""
    SUBSTITUTED_BAND = 16
    """A band of the frame was filled from a neighbouring band of the survey."""


def with_metadata(table: pa.Table, metadata: Mapping[str, Any]) -> pa.Table:
    """Return `table` carrying `metadata` as JSON in its schema."""
    return table.replace_schema_metadata({_METADATA_KEY: json.dumps(dict(metadata)).encode()})


def read_metadata(schema: pa.Schema) -> dict[str, Any]:
    """Return what `with_metadata` stored, or an empty dictionary."""
    raw = (schema.metadata or {}).get(_METADATA_KEY)
    return dict(json.loads(raw)) if raw else {}


def write_table(table: pa.Table, path: PathOrUrl, row_group_size: int | None = None) -> None:
    """Write a Parquet table atomically, to a path or a URL.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    repeating = [
        field.name
        for field in table.schema
        if not (pa.types.is_floating(field.type) or field.name.endswith("_id"))
    ]
    with atomic_path(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            use_dictionary=repeating,  # of ids and measurements one would be as long as the column
            row_group_size=row_group_size,
        )


class Sample:
    """A sample table on disk: galaxies of one or more surveys, with where their pixels are.

    Opening reads and checks every column but the images, which `batches` streams.

    Parameters
    ----------
    path : path or URL
        Parquet file with ``object_id``, ``survey``, ``ra``, ``dec`` [ICRS deg], and ``cutout``
        (URI, relative to the file's folder) or ``image`` (bytes, or nested bands).

    Raises
    ------
    TableError
        If the file is no Parquet table, a column is missing, or a row breaks the contract.
    StorageError
        If the store it is in fails.
    """

    def __init__(self, path: PathOrUrl) -> None:
        self.path = location(path)
        self._file = open_parquet(self.path)
        names = self._file.schema_arrow.names
        light = [name for name in names if name != "image"]
        with store_errors(self.path):
            self.catalog: pa.Table = self._file.read(columns=light)
        validate_sample(self.catalog, str(self.path), has_image="image" in names)

    @property
    def folder(self) -> Location:
        """Where relative cutout URIs start."""
        return self.path.parent

    @property
    def surveys(self) -> tuple[str, ...]:
        """The surveys in the table, sorted."""
        return tuple(sorted(pc.unique(self.catalog["survey"]).to_pylist()))

    @property
    def survey(self) -> str:
        """The one survey of the table.

        Raises
        ------
        TableError
            If the table mixes surveys.
        """
        if len(self.surveys) != 1:
            raise TableError(
                f"{self.path}: expected cutouts of one survey but found {', '.join(self.surveys)}; "
                "split the table by its survey column"
            )
        return self.surveys[0]

    def __len__(self) -> int:
        return int(self.catalog.num_rows)

    @property
    def row_group_edges(self) -> np.ndarray:
        """(groups + 1,) int array: the first row of each row group, and the end."""
        groups = range(self._file.num_row_groups)
        rows = [self._file.metadata.row_group(i).num_rows for i in groups]
        return np.concatenate([[0], np.cumsum(rows)]).astype(int)

    def batches(self, rows: int, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
        """Stream rows `start` to `stop`, images included, in table order.

        Row groups that lie wholly outside are not read.

        Parameters
        ----------
        rows : int
            Largest number of rows per batch.
        start, stop : int
            Row range; `stop` defaults to the end.

        Yields
        ------
        pa.Table
            Up to `rows` rows with every column.
        """
        stop = len(self) if stop is None else min(stop, len(self))
        edges = self.row_group_edges
        wanted = [i for i in range(len(edges) - 1) if edges[i + 1] > start and edges[i] < stop]
        if not wanted or stop <= start:
            return
        position = int(edges[wanted[0]])
        batches = self._file.iter_batches(batch_size=rows, row_groups=wanted)
        tables = (pa.Table.from_batches([batch]) for batch in batches)
        yield from slice_tables(
            with_store_errors(self.path, tables), start - position, stop - position
        )


def slice_tables(tables: Iterable[pa.Table], start: int, stop: int) -> Iterator[pa.Table]:
    """Yield rows `start` to `stop` of tables that follow one another; none that is empty."""
    position = 0
    for table in tables:
        low, high = max(start - position, 0), min(stop - position, table.num_rows)
        if high > low:
            yield table.slice(low, high - low)
        position += table.num_rows


def validate_sample(table: pa.Table, where: str, *, has_image: bool | None = None) -> None:
    """Hold a sample table to its contract.

    Parameters
    ----------
    table : pa.Table
        The table, with or without its image column.
    where : str
        What to call it in messages.
    has_image : bool, optional
        Whether an ``image`` column exists although it was not read.

    Raises
    ------
    TableError
        If a column is missing, a status unknown, or an id repeated within its survey.
    CatalogError
        If a position is missing, not finite, or out of range.
    """
    _require(table, ("object_id", "survey", "ra", "dec"), where)
    if has_image is None:
        has_image = "image" in table.column_names
    if not has_image and "cutout" not in table.column_names:
        raise TableError(
            f"{where}: needs a 'cutout' column (path of an image) or an 'image' column (bytes); "
            f"it has {', '.join(table.column_names)}"
        )
    for name in ("object_id", "survey"):
        if not _is_string(table.schema.field(name).type):
            raise TableError(
                f"{where}: column '{name}' must hold strings but holds "
                f"{table.schema.field(name).type}; ids as numbers lose digits"
            )
        if table[name].null_count:
            raise TableError(f"{where}: column '{name}' has {table[name].null_count} empty values")
    check_positions(_to_numpy(table, "ra"), _to_numpy(table, "dec"), where)
    check_unique(table, ("survey", "object_id"), where)
    if "status" in table.column_names:
        unknown = set(pc.unique(table["status"]).to_pylist()) - set(STATUSES)
        if unknown:
            raise TableError(
                f"{where}: status {sorted(map(str, unknown))} is not one of {', '.join(STATUSES)}"
            )


def validate_pairs(table: pa.Table, where: str) -> None:
    """Hold a pair table to its contract.

    Raises
    ------
    TableError
        If a column is missing.
    """
    _require(
        table,
        ("anchor_id", "target_id", "separation_arcsec", "n_candidates", "ambiguous"),
        where,
    )


def read_pairs(path: PathOrUrl) -> pa.Table:
    """Read a pair table; its match parameters are in `read_metadata` of its schema.

    Raises
    ------
    TableError
        If it is no Parquet file or lacks a column.
    StorageError
        If the store it is in fails.
    """
    table = read_table(path)
    validate_pairs(table, str(path))
    return table


def read_table(path: PathOrUrl, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet table, all of it or some columns.

    Raises
    ------
    TableError
        If there is none, or it is no Parquet file.
    StorageError
        If the store it is in fails.
    """
    place = location(path)
    with store_errors(place):
        return open_parquet(place).read(columns=columns)


def check_positions(ra: np.ndarray, dec: np.ndarray, where: str) -> None:
    """Refuse positions that are not ICRS degrees.

    Parameters
    ----------
    ra, dec : (n,) float array [deg]
        Right ascension in [0, 360] and declination in [-90, 90].
    where : str
        What to call the table in messages.

    Raises
    ------
    CatalogError
        Naming the first bad row.
    """
    for name, value, low, high in (("ra", ra, 0.0, 360.0), ("dec", dec, -90.0, 90.0)):
        good = np.isfinite(value) & (value >= low) & (value <= high)
        if not good.all():
            row = int(np.argmin(good))
            hint = " (swapped with ra?)" if name == "dec" and np.isfinite(value[row]) else ""
            raise CatalogError(
                f"{where}: {name} of row {row} is {value[row]:g}; expected degrees in "
                f"[{low:g}, {high:g}]{hint}; {int((~good).sum())} of {len(good)} rows are bad"
            )


def check_unique(table: pa.Table, columns: Sequence[str], where: str) -> None:
    """Refuse repeated keys.

    Raises
    ------
    TableError
        Naming one repeated key.
    """
    if len(columns) == 1 and len(pc.unique(table[columns[0]])) == len(table):
        return
    counts = table.select(list(columns)).group_by(list(columns)).aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts["count_all"], 1))
    if repeated.num_rows:
        first = ":".join(str(repeated[name][0].as_py()) for name in columns)
        raise TableError(
            f"{where}: {repeated.num_rows} ids appear more than once, for example {first} "
            f"({repeated['count_all'][0].as_py()} times); object_id must be unique within its "
            "survey"
        )


def open_parquet(path: Location) -> pq.ParquetFile:
    """Open a Parquet table, mapped where it is on this machine.

    Raises
    ------
    TableError
        If it is missing, a folder, or no Parquet file.
    StorageError
        If the store it is in fails.
    """
    if not exists(path):
        if isinstance(path, Path) and path.is_dir():
            raise TableError(
                f"{path}: is a folder; a HATS catalogue or a folder of tables needs --engine dask"
            )
        raise TableError(f"{path}: no such table")
    try:
        with store_errors(path):
            return pq.ParquetFile(parquet_source(path), memory_map=True, pre_buffer=True)
    except pa.ArrowInvalid as error:
        raise TableError(f"{path}: is not a Parquet file ({error})") from error


def _require(table: pa.Table, columns: Sequence[str], where: str) -> None:
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise TableError(
            f"{where}: column {', '.join(map(repr, missing))} is missing; it has "
            f"{', '.join(table.column_names)}"
        )


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _to_numpy(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].cast(pa.float64()))
