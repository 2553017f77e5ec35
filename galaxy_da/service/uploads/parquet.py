"""Uploaded Parquet files, read in a process of bounded memory and time."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from galaxy_da.service.errors import RequestError

_ANSWER_BYTES = 256 << 20  # of the columns
_MAGIC = b"PAR1"


def read_parquet(data: bytes, columns: Sequence[str]) -> pa.Table:
    """Read those of some columns that a Parquet file has, ids as text, and its metadata.

    RequestError 415 for another kind of file, 422 if it cannot be read, 413 if it is too large. A
    small file can expand to any amount of memory, so that the caller's memory must be bounded.
    """
    if not data.startswith(_MAGIC):
        raise RequestError(415, "the table must be a Parquet file")
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        names = [name for name in columns if name in file.schema_arrow.names]
        table = _plain(file.read(columns=names, use_threads=False))
    except pa.ArrowMemoryError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise RequestError(422, f"the table cannot be read ({error})") from error
    if table.nbytes > _ANSWER_BYTES:
        raise RequestError(413, f"the table has over {_ANSWER_BYTES >> 20} MiB when read")
    return table


def _plain(table: pa.Table) -> pa.Table:
    """Cast ids to text and expand dictionaries."""
    for place, field in enumerate(table.schema):
        if field.name.endswith("_id") or pa.types.is_dictionary(field.type):
            kind = pa.string() if field.name.endswith("_id") else field.type.value_type
            table = table.set_column(place, field.name, table[field.name].cast(kind))
    return table
