"""An open index: its rows, its vectors, and the search over them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import LatentIndexError
from galaxy_da.index import manifest, segments
from galaxy_da.index.gathering import Batches, Vectors
from galaxy_da.index.kinds import check_kind, default_memory
from galaxy_da.index.layout import Layout, expanded
from galaxy_da.index.locks import only_writer
from galaxy_da.index.segments import Segment
from galaxy_da.index.selections import Condition, Cone, Selection, cone_mask, where_mask
from galaxy_da.index.sources import Source, Sources, sorted_batches, usable
from galaxy_da.index.stores import mirrored, workplace
from galaxy_da.io.storage import PathOrUrl

__all__ = ["StoredIndex"]

_BATCH_VALUES = 1 << 22
"""Floats gathered at once while distances are computed."""
_CLOSE_IDS = 500
"""Ids in sort order on either side of an unknown one that are compared with it."""
_HASHED_BYTES = 1 << 30


class StoredIndex:
    """An index over the features of all surveys of one latent space.

    Made by `build` or `open`. Distances are Euclidean between posterior means, computed from the
    exact vectors whatever the segments are searched with. An index does not change while it is
    open: `galaxy_da.index.writing` changes the folder, and opening it again shows that. What
    it can be asked is in `galaxy_da.latent_index.LatentIndex`.

    Attributes
    ----------
    rows : pa.Table
        One row per vector with every column of the features but ``embedding``, ``status`` and
        ``message``; sorted by survey, and by object id where they were added together.
    vectors : Vectors
        The embeddings, read-only, indexed by row number as an (n, d) float32 array is.
    space_id : str
        Identity of the latent space.
    encoders : dict of str
        Survey name to the hash of its encoder.
    generation : int
        Counts the changes to the folder.
    """

    def __init__(
        self,
        parts: Sequence[Segment],
        space_id: str,
        encoders: dict[str, str],
        *,
        kind: str = "auto",
        memory_bytes: int | None = None,
        generation: int = 0,
    ) -> None:
        self.segments = tuple(parts)
        self.space_id = space_id
        self.encoders = encoders
        self.kind = kind
        self.memory_bytes = default_memory() if memory_bytes is None else memory_bytes
        self.generation = generation
        self._layout = Layout([s.surveys for s in parts], [s.deleted for s in parts])
        self.rows = segments.living(parts)
        self._batches = Batches(self.rows)
        self.vectors = Vectors(self._layout, [s.vectors for s in parts])
        self._selections: dict[str | None, Selection] = {}

    @classmethod
    def build(
        cls, features: Sequence[Source], *, kind: str = "auto", memory_bytes: int | None = None
    ) -> Self:
        """Index every row that has an embedding, in memory.

        Parameters
        ----------
        features : sequence of Features or path
            Of one latent space, in any order.
        kind : str
            ``auto`` or one of `galaxy_da.index.KINDS`.
        memory_bytes : int, optional
            What ``auto`` may use; by default half of the machine's memory.

        Raises
        ------
        LatentIndexError
            If spaces, encoders, latent widths or column types differ, a key repeats, an embedding
            is not finite, or there is nothing to index.
        CatalogError
            If a position is missing or out of range.
        ValueError
            If the kind is unknown.
        """
        check_kind(kind)
        sources = Sources(features)
        table = pa.concat_tables(list(sources.tables()))
        if not table.num_rows:
            raise sources.nothing()
        memory = default_memory() if memory_bytes is None else memory_bytes
        segment = segments.built(sorted_batches(table), kind, memory)
        return cls(
            [segment], sources.space_id, sources.encoders, kind=kind, memory_bytes=memory_bytes
        )

    @classmethod
    def open(cls, path: PathOrUrl, *, whole: bool = False) -> Self:
        """Open a saved index, its files mapped from disk.

        Parameters
        ----------
        path : path or URL
            Its folder; of a URL the files are copied to the user's cache first.
        whole : bool
            Compare every byte with its hash. By default that is done for files of up to 1 GiB
            together; of larger ones only sizes and ends are compared.

        Raises
        ------
        LatentIndexError
            If there is none, or a file is missing, damaged or edited.
        StorageError
            If the store it is in fails.
        """
        with mirrored(path) as folder:
            return cls._opened(folder, whole)

    @classmethod
    def _opened(cls, folder: Path, whole: bool) -> Self:
        while True:
            now = manifest.read(folder)
            size = sum(file.bytes for part in now.segments for file in part.files())
            every = whole or size <= _HASHED_BYTES
            try:
                parts = [
                    segments.opened(folder, part, now.dimension, whole=every)
                    for part in now.segments
                ]
            except LatentIndexError:
                if manifest.read(folder) == now:
                    raise
                continue  # it was changed meanwhile
            return cls(
                parts,
                now.space_id,
                now.encoders,
                kind=now.kind,
                memory_bytes=now.memory_bytes,
                generation=now.generation,
            )

    def save(self, path: PathOrUrl) -> None:
        """Write the index to a folder; one that is there already stays whole until replaced.

        Raises
        ------
        LatentIndexError
            If another process is writing there.
        StorageError
            If the folder or a file cannot be written.
        """
        with workplace(path, anew=True) as folder, only_writer(folder):
            with manifest.drafts(folder) as drafts:
                files = [segments.copied(drafts, segment) for segment in self.segments]
            manifest.commit(
                folder,
                manifest.Manifest(
                    generation=manifest.next_generation(folder),
                    space_id=self.space_id,
                    encoders=self.encoders,
                    dimension=self.dimension,
                    kind=self.kind,
                    memory_bytes=self.memory_bytes,
                    segments=files,
                ),
            )

    def __len__(self) -> int:
        return self._layout.n_rows

    @property
    def dimension(self) -> int:
        """Number of latent coordinates."""
        return int(self.vectors.shape[1])

    @property
    def surveys(self) -> tuple[str, ...]:
        """The surveys that have objects here, sorted."""
        return tuple(self._layout.spans)

    def check_space(self, space_id: str) -> None:
        """Refuse to work with another latent space than the index was built with.

        Raises
        ------
        LatentIndexError
            Naming both.
        """
        if space_id != self.space_id:
            raise LatentIndexError(
                f"this index was built with space {self.space_id[:12]}, not {space_id[:12]}; open "
                "the space it was built with, or extract and index again with the other"
            )

    def span(self, survey: str | None) -> tuple[int, int]:
        """Return first and one-past-last row number of a survey, or of the whole index.

        Raises
        ------
        LatentIndexError
            If the survey has no objects here.
        """
        if survey is None:
            return 0, len(self)
        if survey not in self._layout.spans:
            raise LatentIndexError(
                f"survey {survey!r} is not in this index; it has {', '.join(self.surveys)}"
            )
        return self._layout.spans[survey]

    def row(self, key: str) -> int:
        """Return the row number of ``survey:object_id``; the id may itself contain ``:``.

        Raises
        ------
        LatentIndexError
            If there is no such object, naming close ones.
        """
        survey, _, object_id = key.partition(":")
        for number, segment in enumerate(self.segments):
            place = np.array([segment.place(survey, object_id)])
            row = int(self._layout.numbers(number, place)[0])
            if row >= 0:
                return row
        raise LatentIndexError(
            f"no object {key!r} in this index, or it has no embedding; {self._hint(key)}"
        )

    def key(self, row: int) -> str:
        """Return ``survey:object_id`` of a row number."""
        return f"{self.rows['survey'][row]}:{self.rows['object_id'][row]}"

    def take(self, rows: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Return some columns of some rows, in the order asked for, reading no others."""
        return self._batches.take(rows, columns)

    def places(self, segment: int, mask: np.ndarray) -> np.ndarray:
        """Return the places in a segment of the rows that are true in an (n,) bool mask."""
        return expanded(self._layout.marked(segment, mask))

    def select(
        self,
        survey: str | None = None,
        *,
        where: Condition | Iterable[Condition] = (),
        cone: Cone | None = None,
    ) -> Selection:
        """Choose the rows that a question is about.

        Parameters
        ----------
        survey : str, optional
            Its objects only.
        where : Condition or iterable of Condition
            Conditions that all must hold: ``(column, operator, value)`` or text such as
            ``"redshift >= 0.1"`` or ``"kind in spiral,ring"``. A missing value meets none.
        cone : (float, float, float), optional
            ICRS right ascension and declination [deg] and radius [arcsec].

        Raises
        ------
        LatentIndexError
            If the survey or a column is not here, or no row is left.
        CatalogError
            If the cone's centre is not on the sky.
        ValueError
            If a condition cannot be read.
        """
        span = self.span(survey)
        conditions = [where] if isinstance(where, str) else list(where)
        if not conditions and cone is None:
            if survey not in self._selections:
                self._selections[survey] = self._selection(span)
            return self._selections[survey]
        some = self.rows.slice(span[0], span[1] - span[0])
        inside = where_mask(some, conditions)
        if cone is not None:
            inside &= cone_mask(some, cone)
        if not inside.any():
            raise LatentIndexError(
                f"none of the {some.num_rows} objects of {survey or 'this index'} is in the "
                "selection; widen it"
            )
        mask = np.zeros(len(self), bool)
        mask[slice(*span)] = inside
        return self._selection(span, mask)

    def search(
        self,
        vectors: np.ndarray,
        k: int,
        within: str | Selection | None = None,
        *,
        exact: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest rows of many vectors at once.

        Candidates are chosen segment by segment, as `galaxy_da.index.kinds` says; their
        distances are then computed from differences of the exact vectors, so that near-duplicates
        come out right.

        Parameters
        ----------
        vectors : (n, d) float array
            Latent vectors.
        k : int
            Rows per vector; fewer where there are not so many.
        within : str or Selection, optional
            A survey, or what `select` returned.
        exact : bool
            Compare with every vector, also in segments that have a graph or codes.

        Returns
        -------
        distances : (n, min(k, rows)) float32 array
            Ascending.
        rows : (n, min(k, rows)) int64 array
            Row numbers; equal distances are in row order.

        Raises
        ------
        ValueError
            If k < 1, or the vectors have another width or are not finite.
        LatentIndexError
            If the survey is not here.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1 but is {k}")
        points = self._points(vectors)
        selection = within if isinstance(within, Selection) else self.select(within)
        k = min(k, len(selection))
        step = max(1, _BATCH_VALUES // (k * self.dimension))
        parts = [
            self._nearest(points[first : first + step], k, selection, exact)
            for first in range(0, max(len(points), 1), step)
        ]
        if len(parts) == 1:
            return parts[0]
        return (
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
        )

    def _points(self, vectors: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            points = np.ascontiguousarray(vectors, dtype=np.float32)
        if points.ndim != 2 or points.shape[1] != self.dimension:
            raise ValueError(
                f"vectors must have shape (n, {self.dimension}) but have {points.shape}; do they "
                "come from the space of this index?"
            )
        if not usable(points).all():
            raise ValueError("vectors must be finite")
        return points

    def _nearest(
        self, points: np.ndarray, k: int, selection: Selection, exact: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        found = [
            self._layout.numbers(number, segment.candidates(points, k, allowed, exact=exact))
            for number, (segment, allowed) in enumerate(
                zip(self.segments, selection.allowed, strict=True)
            )
            if allowed.count
        ]
        rows = found[0] if len(found) == 1 else np.concatenate(found, axis=1)
        distances = np.linalg.norm(self.vectors[rows] - points[:, None], axis=-1)  # (n, k)
        distances[rows < 0] = np.inf
        order = np.lexsort((rows, distances))[:, :k]
        each = np.arange(len(rows))[:, None]
        return distances[each, order], rows[each, order]

    def _selection(self, span: tuple[int, int], mask: np.ndarray | None = None) -> Selection:
        return Selection(self._layout, [len(s.vectors) for s in self.segments], span, mask)

    def _hint(self, key: str) -> str:
        survey, colon, object_id = key.partition(":")
        same = pc.equal(self.rows["object_id"], object_id if colon else key)
        near = [self.key(row) for row in np.flatnonzero(same.to_numpy())[:3]]
        if not near and survey in self._layout.spans:
            start, stop = self._layout.spans[survey]
            ids = self.rows["object_id"].slice(start, stop - start)
            place = pc.sum(pc.less(ids, object_id)).as_py()
            around = ids.slice(max(place - _CLOSE_IDS, 0), 2 * _CLOSE_IDS).to_pylist()
            near = [f"{survey}:{close}" for close in difflib.get_close_matches(object_id, around)]
        if near:
            return f"did you mean {' or '.join(near)}?"
        return f"a key is SURVEY:ID with SURVEY one of {', '.join(self.surveys)}"
