"""Random access to rows of long tables and arrays that are stored in pieces on disk.

Arrow's own ``take`` first joins the pieces of a column, which reads all of a mapped table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from galaxy_da.index.layout import Layout

__all__ = ["Batches", "Vectors", "arrow_array"]


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
