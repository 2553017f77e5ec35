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
from galaxy_da.index.kinds import check_kind
from galaxy_da.index.layout import Layout, expanded
from galaxy_da.index.manifest import Header, Manifest
from galaxy_da.index.segments import Segment
from galaxy_da.index.selections import Condition, Cone, Selection, Subset, rows_within
from galaxy_da.index.sources import Source, Sources, usable
from galaxy_da.index.stores import mirrored, write_index
from galaxy_da.io.storage import Location, PathOrUrl, location

_HINT_IDS = 50
"""Number of ids, on either side of an unknown one, that are compared with it."""
_HINT_CHARACTERS = 64
"""Length of the longest unknown id that is compared with others."""
_HASHED_BYTES = 1 << 30
_BATCH_VALUES = 1 << 22
"""Floats gathered at once while distances are computed."""


class StoredIndex:
    """An index over the features of all surveys of one latent space.

    Made by `build` or `open`. Distances are Euclidean between posterior means and are computed
    from the exact vectors. An open index does not change: functions of `galaxy_da.index.writing`
    change its folder, which can then be opened again. The queries are methods of
    `galaxy_da.latent_index.LatentIndex`.

    Attributes
    ----------
    rows : pa.Table
        One row per vector with every column of the features but ``embedding``, ``status`` and
        ``message``; sorted by survey, and by object id within each segment.
    vectors : Vectors
        The embeddings, read-only, indexed by row number like an (n, d) float32 array.
    space_id : str
        Identity of the latent space.
    encoders : dict of str
        Hash of the encoder of each survey.
    generation : int
        Number of changes to the folder.
    source, folder : Location or None
        Place that the index was opened at, and the local folder of its files; None for an index
        that was built in memory.
    """

    source: Location | None = None
    folder: Path | None = None

    def __init__(self, parts: Sequence[Segment], header: Header) -> None:
        self.segments = tuple(parts)
        self.space_id = header.space_id
        self.encoders = header.encoders
        self.generation = header.generation
        self.kind = header.kind
        self._header = header
        self._layout = Layout([s.surveys for s in parts], [s.deleted for s in parts])
        self.rows = segments.living(parts)
        self._batches = Batches(self.rows)
        self.vectors = Vectors(self._layout, [s.vectors for s in parts])
        self._selections: dict[str | None, Selection] = {}

    @classmethod
    def build(cls, features: Sequence[Source], *, kind: str = "auto") -> Self:
        """Index every row that has an embedding, in memory.

        Parameters
        ----------
        features : sequence of Features or path
            Features of one latent space, in any order.
        kind : str
            ``auto`` or one of `galaxy_da.index.KINDS`.

        Raises
        ------
        LatentIndexError
            If spaces, encoders, latent widths or column types differ, a key repeats, an embedding
            is not finite, or there is nothing to index.
        CatalogError
            If a position is missing or out of range.
        """
        check_kind(kind)
        sources = Sources(features)
        table = pa.concat_tables(list(sources.tables()))
        if not table.num_rows:
            raise sources.nothing()
        header = sources.header(kind)
        return cls([segments.built(table, kind)], header)

    @classmethod
    def open(cls, path: PathOrUrl, *, whole: bool = False) -> Self:
        """Open a saved index, its files mapped from disk.

        Parameters
        ----------
        path : path or URL
            Folder of the index. Files at a URL are copied to the user's cache first.
        whole : bool
            Check the hash of every byte. By default that is done if the files take up to 1 GiB
            together; of larger ones only sizes and ends are checked.

        Raises
        ------
        LatentIndexError
            If there is no index, or a file is missing, damaged or edited.
        """
        with mirrored(path) as folder:
            index = cls._opened(folder, whole)
        index.source, index.folder = location(path), folder
        return index

    @classmethod
    def _opened(cls, folder: Path, whole: bool) -> Self:
        while True:
            now = manifest.read(folder)
            every = whole or now.bytes <= _HASHED_BYTES
            try:
                return cls.reopen(folder, now, whole=every)
            except LatentIndexError:
                if manifest.read(folder) == now:
                    raise
                continue  # a writer replaced the manifest meanwhile

    @classmethod
    def reopen(cls, folder: Path, state: Manifest, *, whole: bool = False) -> Self:
        """Open a state of a folder, whose files stay while another process has it open."""
        parts = [
            segments.opened(folder, part, state.dimension, whole=whole) for part in state.segments
        ]
        return cls(parts, state)

    @property
    def state(self) -> Manifest | None:
        """State of the folder that the index was opened from, for `reopen`."""
        return self._header if isinstance(self._header, Manifest) else None

    def save(self, path: PathOrUrl) -> None:
        """Write the index to a folder; an index already there stays whole until replaced."""
        write_index(
            path, self._header, lambda drafts: [segments.copied(drafts, s) for s in self.segments]
        )

    def __len__(self) -> int:
        return self._layout.n_rows

    @property
    def dimension(self) -> int:
        """Number of latent coordinates."""
        return int(self.vectors.shape[1])

    @property
    def surveys(self) -> tuple[str, ...]:
        """Surveys with objects in the index, sorted."""
        return tuple(self._layout.spans)

    def check_space(self, space_id: str) -> None:
        """Raise LatentIndexError if the index was built with another latent space."""
        if space_id != self.space_id:
            raise LatentIndexError(
                f"this index was built with space {self.space_id[:12]}, not {space_id[:12]}; open "
                "the space it was built with, or extract and index again with the other"
            )

    def span(self, survey: str | None) -> tuple[int, int]:
        """Return first and one-past-last row number of a survey, or of the whole index."""
        if survey is None:
            return 0, len(self)
        if survey not in self._layout.spans:
            raise LatentIndexError(
                f"survey {survey!r} is not in this index; it has {', '.join(self.surveys)}"
            )
        return self._layout.spans[survey]

    def row(self, key: str) -> int:
        """Return the row number of a key ``survey:object_id``; the id may itself contain ``:``.

        An unknown key raises LatentIndexError, which suggests similar ones.
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
        """Return the key ``survey:object_id`` of a row number."""
        return f"{self.rows['survey'][row]}:{self.rows['object_id'][row]}"

    def take(self, rows: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Return columns of rows, in the given order, reading nothing else."""
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
        clean: bool = False,
    ) -> Selection:
        """Select rows of a survey, by default of every survey, that meet conditions.

        `where`, `cone` and `clean` are those of `galaxy_da.index.Subset`. Raises LatentIndexError
        if the survey or a column is not in the index, or no row meets the conditions, and
        ValueError if a condition cannot be read.
        """
        span = self.span(survey)
        conditions = Subset(where=where, clean=clean).conditions
        if not conditions and cone is None:
            if survey not in self._selections:
                self._selections[survey] = self._selection(span)
            return self._selections[survey]
        table = self.rows.slice(span[0], span[1] - span[0])
        inside = rows_within(table, conditions, cone)
        if not inside.any():
            raise LatentIndexError(
                f"none of the {table.num_rows} objects of {survey or 'this index'} is in the "
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

        Parameters
        ----------
        vectors : (n, d) float array
            Latent vectors.
        k : int
            Number of rows per vector; at most the number of selected rows.
        within : str or Selection, optional
            A survey, or rows from `select`; by default the whole index.
        exact : bool
            Compare with every vector, also in segments that are searched by codes.

        Returns
        -------
        distances : (n, min(k, rows)) float32 array
            Ascending.
        rows : (n, min(k, rows)) int64 array
            Row numbers; equal distances are in row order.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1 but is {k}")
        selection = within if isinstance(within, Selection) else self.select(within)
        points, k = self._checked(vectors), min(k, len(selection))
        step = max(1, _BATCH_VALUES // (k * self.dimension))
        parts = [
            self._nearest(points[first : first + step], k, selection, exact)
            for first in range(0, max(len(points), 1), step)
        ]
        if len(parts) == 1:
            return parts[0]
        distances, rows = zip(*parts, strict=True)
        return np.concatenate(distances), np.concatenate(rows)

    def _checked(self, vectors: np.ndarray) -> np.ndarray:
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
        """Order the candidates of all segments by their distances from the exact vectors."""
        candidates = [
            self._layout.numbers(number, segment.candidates(points, k, allowed, exact=exact))
            for number, (segment, allowed) in enumerate(
                zip(self.segments, selection.allowed, strict=True)
            )
            if allowed.count
        ]
        rows = candidates[0] if len(candidates) == 1 else np.concatenate(candidates, axis=1)
        shift = self.vectors[rows] - points[:, None]
        distances = np.sqrt(np.einsum("nkd,nkd->nk", shift, shift))
        distances[rows < 0] = np.inf
        order = np.lexsort((rows, distances))[:, :k]
        query = np.arange(len(points))[:, None]
        return distances[query, order], rows[query, order]

    def _selection(self, span: tuple[int, int], mask: np.ndarray | None = None) -> Selection:
        return Selection(self._layout, [len(s.vectors) for s in self.segments], span, mask)

    def _hint(self, key: str) -> str:
        """Suggest keys like an unknown one."""
        survey, colon, object_id = key.partition(":")
        same = pc.equal(self.rows["object_id"], object_id if colon else key)
        near = [self.key(row) for row in np.flatnonzero(same.to_numpy())[:3]]
        if not near and survey in self._layout.spans and len(object_id) <= _HINT_CHARACTERS:
            start, stop = self._layout.spans[survey]
            ids = self.rows["object_id"].slice(start, stop - start)
            place = pc.sum(pc.less(ids, object_id)).as_py()
            around = ids.slice(max(place - _HINT_IDS, 0), 2 * _HINT_IDS).to_pylist()
            near = [f"{survey}:{close}" for close in difflib.get_close_matches(object_id, around)]
        if near:
            return f"did you mean {' or '.join(near)}?"
        return f"a key is SURVEY:ID with SURVEY one of {', '.join(self.surveys)}"
