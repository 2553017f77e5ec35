"""Uploaded Parquet files, each read in a process with bounded memory and time.

A small file can expand to any amount of memory, and its header cannot be trusted. The process
returns an Arrow stream of bounded size.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence

import pyarrow as pa

from galaxy_da.service.errors import RequestError

__all__ = ["read_parquet"]

_MEMORY_BYTES = 2 << 30  # of the process
_ANSWER_BYTES = 256 << 20  # of the columns
_SECONDS = 30
_TOO_LARGE = 3
_MAGIC = b"PAR1"


def read_parquet(data: bytes, columns: Sequence[str]) -> pa.Table:
    """Read those of some columns that a Parquet file has, ids as text, and its metadata.

    RequestError 415 for another kind of file, 422 if it cannot be read, 413 if it takes too much
    memory or time.
    """
    if not data.startswith(_MAGIC):
        raise RequestError(415, "the table must be a Parquet file")
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "galaxy_da.service.uploads.parquet", *columns],
            input=data,
            capture_output=True,
            timeout=_SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RequestError(413, f"the table takes over {_SECONDS} s to read") from None
    if done.returncode == 1:
        raise RequestError(422, f"the table cannot be read ({done.stderr.decode().strip()})")
    if done.returncode:
        raise RequestError(413, "the table takes too much memory to read")
    return pa.ipc.open_stream(done.stdout).read_all()


def _plain(table: pa.Table) -> pa.Table:
    """Cast ids to text and expand dictionaries, while memory is bounded."""
    for place, field in enumerate(table.schema):
        if field.name.endswith("_id") or pa.types.is_dictionary(field.type):
            kind = pa.string() if field.name.endswith("_id") else field.type.value_type
            table = table.set_column(place, field.name, table[field.name].cast(kind))
    return table


def _main(columns: Sequence[str]) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(sys.stdin.buffer.read()))
        names = [name for name in columns if name in file.schema_arrow.names]
        table = _plain(file.read(columns=names, use_threads=False))
        if table.nbytes > _ANSWER_BYTES:
            return _TOO_LARGE
        with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as writer:
            writer.write_table(table)
    except (MemoryError, pa.ArrowMemoryError):
        return _TOO_LARGE
    except (OSError, pa.ArrowException) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
