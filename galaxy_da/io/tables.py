"""Read, write and check Parquet tables.

All tables are readable without this library. Metadata of a whole table (match parameters, the hash
of a space) is JSON under the key ``galaxy_da`` of the schema metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.files import atomic_path
from galaxy_da.io.storage import Location, PathOrUrl, exists, location, parquet_source, store_errors

_METADATA_KEY = b"galaxy_da"
_HASHED_ROWS = 1 << 18
_HASHED_BYTES = 64  # of a text, at most
_FIRST_BYTES = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # masks of a word
_SPLITMIX = [
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
    (np.uint64(31), np.uint64(1)),
]


def with_metadata(table: pa.Table, metadata: Mapping[str, Any]) -> pa.Table:
    """Return `table` with `metadata` as JSON in its schema."""
    return table.replace_schema_metadata({_METADATA_KEY: json.dumps(dict(metadata)).encode()})


def read_metadata(schema: pa.Schema) -> dict[str, Any]:
    """Return the metadata that `with_metadata` stored, or an empty dictionary."""
    raw = (schema.metadata or {}).get(_METADATA_KEY)
    return dict(json.loads(raw)) if raw else {}


def write_table(table: pa.Table, path: PathOrUrl, row_group_size: int | None = None) -> None:
    """Write a Parquet table atomically; a failure raises StorageError."""
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
            use_dictionary=repeating,  # a dictionary of ids or floats is as long as the column
            row_group_size=row_group_size,
        )


def read_table(path: PathOrUrl, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet table, all of it or some columns; errors as of `open_parquet`."""
    source = location(path)
    with store_errors(source):
        return open_parquet(source).read(columns=columns)


def open_parquet(path: Location) -> pq.ParquetFile:
    """Open a Parquet table, memory-mapped on a disk; TableError if there is no such table."""
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


def table_hash(table: pa.Table) -> str:
    """Return the SHA-256 of a table's columns, with their names and types but no metadata."""
    digest, table = hashlib.sha256(), table.replace_schema_metadata(None).combine_chunks()
    for batch in table.to_batches(_HASHED_ROWS) or [pa.RecordBatch.from_pylist([], table.schema)]:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:  # with the values of dictionaries
            stream.write_batch(batch)
        digest.update(sink.getvalue())
    return digest.hexdigest()


def read_pairs(path: PathOrUrl) -> pa.Table:
    """Read a pair table; its match parameters are in `read_metadata` of its schema."""
    table = read_table(path)
    validate_pairs(table, str(path))
    return table


def validate_pairs(table: pa.Table, where: str) -> None:
    """Raise TableError if a pair table lacks a column."""
    columns = ("anchor_id", "target_id", "separation_arcsec", "n_candidates", "ambiguous")
    check_columns(table, columns, where)


def check_columns(table: pa.Table, columns: Sequence[str], where: str) -> None:
    """Raise TableError if a table lacks columns."""
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        names = ", ".join(map(repr, missing))
        said = f"columns {names} are" if len(missing) > 1 else f"column {names} is"
        raise TableError(f"{where}: {said} missing; it has {', '.join(table.column_names)}")


def check_positions(ra: np.ndarray, dec: np.ndarray, where: str) -> None:
    """Raise CatalogError with the first row that is not an ICRS position, (n,) arrays [deg]."""
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
    """Raise TableError if a key of some columns is repeated."""
    ids = table[columns[-1]]
    if _have_distinct_hashes(ids) or len(pc.unique(ids)) == len(table):
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


def _have_distinct_hashes(texts: pa.ChunkedArray) -> bool:
    """Test if texts differ by 64-bit hashes, in a quarter of the time of Arrow's hash table.

    False if two hashes are equal, or the column is not of short texts in every row.
    """
    if texts.type != pa.string() or texts.null_count:
        return False
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    if longest > _HASHED_BYTES:
        return False
    hashes = np.concatenate(
        [np.zeros(0, np.uint64), *(_hashes(chunk, longest) for chunk in texts.chunks if len(chunk))]
    )
    hashes.sort()
    return not bool((hashes[1:] == hashes[:-1]).any())


def _hashes(texts: pa.StringArray, longest: int) -> np.ndarray:
    """Return a hash of each text: its words of eight bytes, mixed in turn."""
    _, starts, content = texts.buffers()
    ends = np.frombuffer(starts, np.int32)[texts.offset :][: len(texts) + 1]
    held = np.frombuffer(content or b"", np.uint8)[ends[0] : ends[-1]]
    padded = np.concatenate([held, np.zeros(longest + 8, np.uint8)])
    words = np.ndarray(len(padded) - 7, "<u8", padded, strides=(1,))  # one from every byte
    first, length = (ends[:-1] - ends[0]).astype(np.int64), np.diff(ends)
    hashes = _mixed(length.astype(np.uint64))
    for start in range(0, longest, 8):
        hashes ^= words[first + start] & _FIRST_BYTES[np.clip(length - start, 0, 8)]
        hashes = _mixed(hashes)
    return hashes


def _mixed(words: np.ndarray) -> np.ndarray:
    """Return words whose every bit depends on all bits (Steele, Lea & Flood 2014, OOPSLA)."""
    for shift, factor in _SPLITMIX:
        words ^= words >> shift
        words *= factor
    return words
