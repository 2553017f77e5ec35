"""Create and change an index folder while others read it.

One process writes at a time. Each change writes new files, syncs them to disk, and then replaces
the manifest in one step, so that the change is durable when the call returns. For an index in an
object store see `galaxy_da.index.stores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import LatentIndexError
from galaxy_da.index import kinds, manifest, segments
from galaxy_da.index.kinds import check_kind
from galaxy_da.index.manifest import Drafts, Manifest, SegmentFiles
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.segments import Build, Segment, living
from galaxy_da.index.selections import Selection
from galaxy_da.index.sources import BATCH_ROWS, Source, Sources, joined, unified, united
from galaxy_da.index.stores import workplace, write_index
from galaxy_da.io.locks import only_writer
from galaxy_da.io.storage import PathOrUrl

_SCRATCH = "scratch.arrow"


def create(
    path: PathOrUrl,
    features: Sequence[Source],
    *,
    kind: str = "auto",
    build: Build = kinds.build,
) -> None:
    """Index every row that has an embedding, with one part in memory at a time.

    An index already there stays whole until replaced. Other arguments are as for
    `StoredIndex.build`, which raises the same errors; `build` makes the FAISS index from the mapped
    vectors and the kind. This function and those below raise StorageError if another process is
    writing to the folder, or it cannot be written; the index is then as it was.
    """
    check_kind(kind)
    opened = Sources(features)
    header = opened.header(kind)

    def write(drafts: Drafts) -> list[SegmentFiles]:
        with _scratch(drafts, opened) as table:
            return [segments.stored(drafts, table, kind, build)]

    write_index(path, header, write)


def add(path: PathOrUrl, features: Sequence[Source], *, replace: bool = False) -> int:
    """Add the rows that have an embedding; return their number.

    They become a new segment, merged with those that are no larger, so that segments stay few. A
    key that is in the index already raises LatentIndexError, unless its row is to be replaced.
    """
    opened = Sources(features)

    def change(drafts: Drafts, index: StoredIndex, now: Manifest) -> tuple[Manifest, int]:
        encoders = _joined_encoders(index, opened)
        with _scratch(drafts, opened) as table:
            taken = _taken(index, table)
            if taken.any() and not replace:
                raise LatentIndexError(
                    f"{path}: {taken.sum()} of {table.num_rows} objects are in this index already, "
                    f"such as {index.key(int(taken.argmax()))}; replace or delete them"
                )
            left = _left(index, taken)
            small = _no_larger(left, table.num_rows)
            kept = [
                _marked(drafts, segment)
                for segment in left
                if not any(segment is other for other in small)
            ]
            rows = united([living(small, vectors=True), table]) if small else table
            new = segments.stored(drafts, rows, now.kind)
            update = {"segments": [*kept, new], "encoders": encoders}
            return now.model_copy(update=update), table.num_rows

    return _changed(path, change)


def delete(path: PathOrUrl, objects: Iterable[str] | Callable[[StoredIndex], Selection]) -> int:
    """Delete objects; return their number.

    They are only marked as deleted; `rebuild` frees their disk space. `objects` are keys
    ``survey:object_id``, or a function of the index that returns a selection, such as
    ``delete(path, lambda index: index.select(where="flags != 0"))``. If a key is unknown or no
    object would be left, LatentIndexError is raised and nothing is deleted.
    """

    def change(drafts: Drafts, index: StoredIndex, now: Manifest) -> tuple[Manifest, int]:
        gone = np.zeros(len(index), bool)
        gone[objects(index).rows if callable(objects) else [index.row(key) for key in objects]] = (
            True
        )
        if gone.all():
            raise LatentIndexError(
                f"{path}: all {len(index)} objects would be deleted, but an index needs at least "
                "one; remove the folder instead"
            )
        kept = [_marked(drafts, segment) for segment in _left(index, gone)]
        return now.model_copy(update={"segments": kept}), int(gone.sum())

    return _changed(path, change)


def rebuild(path: PathOrUrl, *, kind: str | None = None) -> None:
    """Write all living rows as one new segment.

    `kind` is as for `create`, by default the one that it was created with.
    """
    check_kind(kind or "auto")

    def change(drafts: Drafts, index: StoredIndex, now: Manifest) -> tuple[Manifest, int]:
        wanted = kind or now.kind
        files = segments.stored(drafts, living(index.segments, vectors=True), wanted)
        update = {"segments": [files], "kind": wanted}
        return now.model_copy(update=update), len(index)

    _changed(path, change)


def _changed(
    path: PathOrUrl, change: Callable[[Drafts, StoredIndex, Manifest], tuple[Manifest, int]]
) -> int:
    """Make a change to an index folder as its only writer."""
    with workplace(path) as folder:
        manifest.read(folder)
        with only_writer(folder):
            now = manifest.read(folder)
            with manifest.drafts(folder) as drafts:
                new, count = change(drafts, StoredIndex.open(folder), now)
            manifest.commit(folder, new.model_copy(update={"generation": now.generation + 1}))
    return count


@contextmanager
def _scratch(drafts: Drafts, opened: Sources) -> Iterator[pa.Table]:
    """Concatenate features in one mapped file, which can be read in any order."""
    path = drafts.path(_SCRATCH)
    with pa.ipc.new_file(str(path), opened.schema) as writer:
        for table in opened.tables():
            writer.write_table(table, max_chunksize=BATCH_ROWS)
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        if not table.num_rows:
            raise opened.nothing()
        yield table
    finally:
        path.unlink()


def _joined_encoders(index: StoredIndex, opened: Sources) -> dict[str, str]:
    """Check that features fit an index and return the encoders of both."""
    index.check_space(opened.space_id)
    if opened.dimension != index.dimension:
        raise LatentIndexError(
            f"features have latents of width {opened.dimension} but this index of "
            f"{index.dimension}; extract them with the space it was built with"
        )
    light = pa.schema([field for field in opened.schema if field.name != "embedding"])
    unified([index.rows.schema, light])
    return joined(index.encoders, opened.encoders)


def _taken(index: StoredIndex, table: pa.Table) -> np.ndarray:
    """Return a mask of the rows of an index whose keys are in a table too, (n,) bool."""
    taken = np.zeros(len(index), bool)
    for survey in index.surveys:
        start, stop = index.span(survey)
        ids = table["object_id"].filter(pc.equal(table["survey"], survey)).combine_chunks()
        known = index.rows["object_id"].slice(start, stop - start)
        taken[start:stop] = pc.is_in(known, value_set=ids).to_numpy()
    return taken


def _left(index: StoredIndex, gone: np.ndarray) -> list[Segment]:
    """Return the segments that have rows left after a deletion, with these rows marked."""
    every = [
        segment.without(index.places(number, gone)) for number, segment in enumerate(index.segments)
    ]
    return [segment for segment in every if segment.n_living]


def _no_larger(left: Sequence[Segment], n_rows: int) -> list[Segment]:
    """Return the segments to merge with new rows: the smallest, until one exceeds their sum.

    The number of segments stays about the logarithm of the number of rows.
    """
    merged: list[Segment] = []
    for segment in sorted(left, key=lambda segment: segment.n_living):
        if segment.n_living > n_rows:
            break
        merged.append(segment)
        n_rows += segment.n_living
    return merged


def _marked(drafts: Drafts, segment: Segment) -> SegmentFiles:
    """Return the files of a segment, with its deleted places written if they changed."""
    assert segment.files is not None
    if len(segment.deleted) == segment.files.n_deleted:
        return segment.files
    return segments.mark_deleted(drafts, segment.files, segment.deleted)
