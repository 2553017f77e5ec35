"""Segment of an index: rows sorted by survey and object id, their vectors, and a FAISS index.

On disk it is ``rows-<hash>.arrow`` (Arrow IPC), ``vectors-<hash>.npy`` (float32) and, unless it is
flat, ``search-<hash>.faiss``; ``deleted-<hash>.npy`` lists the places of deleted rows. All files
are mapped, so that opening reads little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import LatentIndexError
from galaxy_da.index import kinds
from galaxy_da.index.gathering import Batches, SortedText
from galaxy_da.index.layout import Layout
from galaxy_da.index.locks import Pin
from galaxy_da.index.manifest import Drafts, SegmentFiles, StoredFile
from galaxy_da.index.selections import Allowed
from galaxy_da.index.sources import BATCH_ROWS, KEY, sorted_batches, united
from galaxy_da.io.features import vectors as embeddings

Build = Callable[[np.ndarray, str], Any]

_ROWS = "rows.arrow"
_VECTORS = "vectors.npy"
_SEARCH = "search.faiss"
_DELETED = "deleted.npy"
_CANDIDATES_PER_NEIGHBOUR = 3
"""Candidates from codes that are compared exactly, per neighbour."""
_LEAST_CANDIDATES = 30
_MANY_PIECES = 4096
_EXACT_ROWS = 20_000
_EXACT_SHARE = 0.01
"""Below this number or share of selected rows an exhaustive search is faster and exact."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Rows of an index that were written together."""

    rows: pa.Table  # every column but the embedding, sorted by survey and object id
    vectors: np.ndarray  # (n, d) float32, read-only, may be mapped
    surveys: dict[str, int]  # number of rows of each survey, sorted by name
    kind: str
    reason: str
    search: faiss.Index | None
    deleted: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # ascending places
    pins: tuple[Pin, ...] = ()
    files: SegmentFiles | None = None

    def candidates(
        self, points: np.ndarray, k: int, allowed: Allowed, *, exact: bool
    ) -> np.ndarray:
        """Return places of candidates for the k nearest allowed rows, (n, min(k, allowed) or more).

        `points` are (n, d) float32; `exact` compares them with every allowed row.
        """
        k = min(k, allowed.count)
        if self.search is None or exact or self._few(k, allowed):
            return kinds.nearest(self.vectors, points, k, allowed.listed)
        wanted = min(max(_CANDIDATES_PER_NEIGHBOUR * k, _LEAST_CANDIDATES), allowed.count)
        share = allowed.count / allowed.size
        how = kinds.parameters(self.search, wanted, share, allowed.marked)
        places: np.ndarray = self.search.search(points, wanted, params=how)[1]
        short = (places >= 0).sum(axis=1) < k
        if short.any():
            places[short, :k] = kinds.nearest(self.vectors, points[short], k, allowed.listed)
            places[short, k:] = -1
        return places

    @property
    def n_living(self) -> int:
        """Number of rows that are not deleted."""
        return len(self.vectors) - len(self.deleted)

    def without(self, places: np.ndarray) -> Segment:
        """Return the segment with more of its rows deleted."""
        return replace(self, deleted=np.union1d(self.deleted, places))

    def place(self, survey: str, object_id: str) -> int:
        """Return the place of an object, deleted or not, or -1."""
        low = 0
        for name, count in self.surveys.items():
            if name == survey:
                return self._ids.find(object_id, low, low + count)
            low += count
        return -1

    @cached_property
    def _ids(self) -> SortedText:
        return SortedText(self.rows["object_id"])

    def _few(self, k: int, allowed: Allowed) -> bool:
        least = max(_EXACT_ROWS, _EXACT_SHARE * allowed.size, 20 * k)
        return allowed.count <= least


def built(rows: pa.Table, kind: str) -> Segment:
    """Build a segment in memory from rows with their embeddings."""
    table = pa.concat_tables(list(sorted_batches(rows))).combine_chunks()
    points = np.ascontiguousarray(embeddings(table))
    points.flags.writeable = False
    chosen, reason = kinds.choose(len(points), kind)
    return Segment(
        rows=table.drop_columns("embedding"),
        vectors=points,
        surveys=_counts(table),
        kind=chosen,
        reason=reason,
        search=kinds.build(points, chosen),
    )


def stored(drafts: Drafts, rows: pa.Table, kind: str, build: Build = kinds.build) -> SegmentFiles:
    """Write a segment from rows with their embeddings, holding one batch at a time."""
    shape = (rows.num_rows, rows.schema.field("embedding").type.list_size)
    chosen, reason = kinds.choose(rows.num_rows, kind)
    surveys = _write_batches(drafts, rows, shape)
    search = build(np.load(drafts.path(_VECTORS), mmap_mode="r"), chosen)
    return SegmentFiles(surveys=surveys, kind=chosen, reason=reason, **_kept(drafts, search))


def copied(drafts: Drafts, segment: Segment) -> SegmentFiles:
    """Write a copy of a segment."""
    with pa.ipc.new_file(str(drafts.path(_ROWS)), segment.rows.schema) as writer:
        writer.write_table(segment.rows, max_chunksize=BATCH_ROWS)
    np.save(drafts.path(_VECTORS), segment.vectors)
    files = SegmentFiles(
        surveys=segment.surveys,
        kind=segment.kind,
        reason=segment.reason,
        **_kept(drafts, segment.search),
    )
    return mark_deleted(drafts, files, segment.deleted)


def mark_deleted(drafts: Drafts, files: SegmentFiles, deleted: np.ndarray) -> SegmentFiles:
    """Write the deleted places of a segment."""
    if not len(deleted):
        return files
    np.save(drafts.path(_DELETED), deleted)
    written = drafts.keep(_DELETED)
    return files.model_copy(update={"deleted": written, "n_deleted": len(deleted)})


def opened(folder: Path, files: SegmentFiles, dimension: int, *, whole: bool) -> Segment:
    """Open a segment, its files mapped and pinned."""
    try:
        pins = tuple(Pin(folder / file.name) for file in files.files())
        for file in files.files():
            file.check(folder, whole=whole)
        rows = pa.ipc.open_file(pa.memory_map(str(folder / files.rows.name))).read_all()
        vectors = np.asarray(np.load(folder / files.vectors.name, mmap_mode="r"))
        search = None
        if files.search is not None:
            search = kinds.mapped(str(folder / files.search.name))
        deleted = np.load(folder / files.deleted.name) if files.deleted else np.empty(0, np.int64)
    except (pa.ArrowException, OSError, ValueError, RuntimeError) as error:
        raise LatentIndexError(
            f"{folder}: segment {files.rows.name} cannot be read ({str(error).splitlines()[-1]}); "
            "build the index again"
        ) from error
    n = files.n_rows
    sizes = (rows.num_rows, *vectors.shape, search.ntotal if search else n, len(deleted))
    if sizes != (n, n, dimension, n, files.n_deleted):
        raise LatentIndexError(
            f"{folder}: its table has {sizes[0]} rows and its vectors are {sizes[1]} of width "
            f"{sizes[2]}, but the manifest says {n} of width {dimension}; build the index again"
        )
    return Segment(
        rows=rows,
        vectors=vectors,
        surveys=files.surveys,
        kind=files.kind,
        reason=files.reason,
        search=search,
        deleted=deleted,
        pins=pins,
        files=files,
    )


def living(parts: Sequence[Segment], *, vectors: bool = False) -> pa.Table:
    """Return the living rows of segments in the order of their numbers, mapped if possible."""
    layout = Layout([part.surveys for part in parts], [part.deleted for part in parts])
    tables = [_with_vectors(part) if vectors else part.rows for part in parts]
    lengths = np.diff(layout.first)
    if len(lengths) <= _MANY_PIECES:
        pieces = zip(layout.segment, layout.place, lengths, strict=True)
        return united([tables[number].slice(place, length) for number, place, length in pieces])
    order = np.argsort(np.concatenate([layout.rows_of(i) for i in range(len(parts))]))
    kept = [
        table.filter(~np.isin(np.arange(table.num_rows), part.deleted))
        for table, part in zip(tables, parts, strict=True)
    ]
    return Batches(united(kept)).take(order)


def _with_vectors(segment: Segment) -> pa.Table:
    flat = pa.array(np.asarray(segment.vectors).reshape(-1))
    embedding = pa.FixedSizeListArray.from_arrays(flat, segment.vectors.shape[1])
    return segment.rows.add_column(len(KEY), "embedding", embedding)


def _write_batches(drafts: Drafts, rows: pa.Table, shape: tuple[int, int]) -> dict[str, int]:
    """Write rows and vectors; return the number of rows per survey."""
    surveys: Counter[str] = Counter()
    with (
        pa.ipc.new_file(str(drafts.path(_ROWS)), rows.drop_columns("embedding").schema) as writer,
        drafts.path(_VECTORS).open("wb") as handle,
    ):
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(handle, header)
        for batch in sorted_batches(rows):
            writer.write_table(batch.drop_columns("embedding").combine_chunks())
            handle.write(np.ascontiguousarray(embeddings(batch)).data)
            surveys.update(_counts(batch))
    assert sum(surveys.values()) == shape[0]
    return dict(surveys)


def _kept(drafts: Drafts, search: faiss.Index | None) -> dict[str, Any]:
    files: dict[str, StoredFile] = {"rows": drafts.keep(_ROWS), "vectors": drafts.keep(_VECTORS)}
    if search is not None:
        try:
            faiss.write_index(search, str(drafts.path(_SEARCH)))
        except RuntimeError as error:
            raise OSError(str(error).splitlines()[-1]) from error
        files["search"] = drafts.keep(_SEARCH)
    return files


def _counts(table: pa.Table) -> dict[str, int]:
    """Return the number of rows per survey, in order of appearance."""
    return {item["values"]: item["counts"] for item in pc.value_counts(table["survey"]).to_pylist()}
