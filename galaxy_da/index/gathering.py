"""Random access to rows of long tables and arrays that are stored in pieces on disk.

Arrow's own ``take`` first joins the pieces of a column, which reads all of a mapped table.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from galaxy_da.index.layout import Layout


class Batches:
    """Table of record batches, in memory or mapped, for random access."""

    def __init__(self, table: pa.Table) -> None:
        self._batches = table.to_batches()
        lengths = [batch.num_rows for batch in self._batches]
        self._first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    def take(self, rows: np.ndarray, columns: Sequence[str] | None = None) -> pa.Table:
        """Return rows by number, in the given order, with some columns or all."""
        if len(self._batches) == 1:
            return self._part(0, rows, columns)
        owner = np.searchsorted(self._first, rows, side="right") - 1
        order = np.argsort(owner, kind="stable")
        numbers, begins = np.unique(owner[order], return_index=True)
        numbers = numbers if len(rows) else np.zeros(1, int)
        parts = []
        for number, group in zip(numbers, np.split(order, begins[1:]), strict=True):
            parts.append(self._part(number, rows[group] - self._first[number], columns))
        table = pa.concat_tables(parts)
        if len(parts) == 1:
            return table
        return table.combine_chunks().take(arrow_array(np.argsort(order)))

    def _part(self, number: int, places: np.ndarray, columns: Sequence[str] | None) -> pa.Table:
        """Return rows of one batch by their places in it."""
        batch = self._batches[number]
        batch = batch if columns is None else batch.select(list(columns))
        return pa.Table.from_batches([batch.take(arrow_array(places))])


class SortedText:
    """Column of text to search by bisection, without an Arrow object for each value.

    Values are compared as UTF-8, which has the order of Arrow's text.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        wide = pa.types.is_large_string(column.type)
        self._starts: list[int] = []
        self._chunks: list[tuple[memoryview, memoryview]] = []
        start = 0
        for chunk in filter(len, column.chunks):
            _, offsets, data = chunk.buffers()
            ends = memoryview(offsets).cast("q" if wide else "i")[chunk.offset :]
            self._starts.append(start)
            self._chunks.append((ends, memoryview(data or b"")))
            start += len(chunk)

    def __getitem__(self, place: int) -> bytes:
        number = bisect_right(self._starts, place) - 1
        ends, data = self._chunks[number]
        place -= self._starts[number]
        return bytes(data[ends[place] : ends[place + 1]])

    def find(self, value: str, low: int, stop: int) -> int:
        """Return the place of a value in [low, stop), where values ascend, or -1."""
        wanted = value.encode("utf-8", "surrogatepass")
        place = bisect_left(self, wanted, low, stop)
        return place if place < stop and self[place] == wanted else -1


def arrow_array(numbers: np.ndarray) -> pa.Array:
    """Return numbers as an Arrow array that shares their memory; `pa.array` imports pandas."""
    numbers = np.ascontiguousarray(numbers)
    kind = pa.from_numpy_dtype(numbers.dtype)
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])


class Vectors:
    """Vectors of all living rows, indexed by row number like a read-only (n, d) float32 array."""

    def __init__(self, layout: Layout, parts: Sequence[np.ndarray]) -> None:
        self._layout = layout
        self._parts = parts
        self.shape = (layout.n_rows, parts[0].shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.float32, copy=bool(copy))

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        """Return the vectors of row numbers: (d,) for one, else (..., d)."""
        if self._layout.is_whole:
            return self._parts[0][rows]
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        wanted = np.asarray(rows)
        if wanted.dtype == bool:
            wanted = np.flatnonzero(wanted)
        if wanted.size and not (-len(self) <= wanted.min() and wanted.max() < len(self)):
            raise IndexError(f"rows must be in [0, {len(self)}) but reach {wanted.max()}")
        wanted = np.where(wanted < 0, wanted + len(self), wanted)
        segments, places = self._layout.places(wanted)
        result = np.empty((*wanted.shape, self.shape[1]), np.float32)
        for number, part in enumerate(self._parts):
            here = segments == number
            result[here] = part[places[here]]
        return result
