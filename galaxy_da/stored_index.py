"""One exact index over the embeddings of every survey of a latent space.

On disk it is a folder: ``rows-<hash>.parquet`` (ids, positions, embeddings and every other column
of the features), ``vectors-<hash>.faiss`` (the embeddings as a FAISS ``IndexFlatL2``, Johnson et
al. 2019, IEEE Trans. Big Data 7, 535) and ``index.json``, which names the two by content and is
written last, so a folder always holds one whole index. One process writes to it at a time.

Rows are sorted by survey and object id: a survey is one run of row numbers, and restricting a
search to it costs nothing.

Memory per vector of d dimensions: 4 d bytes of vectors, mapped from disk and shared between
processes when the index was opened, plus 4 d of variance and 24 of position, flags and error, plus
the text of ids and other columns (about 20 to 40). At d = 40 that is 160 + 220 bytes: a million
galaxies take 0.4 GB. Building takes about three times that.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxy_da.errors import LatentIndexError, TableError
from galaxy_da.features import Features, vectors
from galaxy_da.files import atomic_path, ensure_folder, file_hash, json_hash, write_json
from galaxy_da.tables import check_positions, check_unique, write_table

__all__ = ["StoredIndex"]

HEADER = "index.json"

_FORMAT = 1
_KEY = ("object_id", "survey", "ra", "dec")
_BATCH_VALUES = 1 << 22
"""Floats gathered at once while distances are computed."""
_CLOSE_IDS = 500
"""Ids in sort order on either side of an unknown one that are compared with it."""


class StoredIndex:
    """An exact index over the features of all surveys of one latent space.

    Made by `build` or `open`. Distances are Euclidean between posterior means. What it can be
    asked is in `galaxy_da.index.LatentIndex`.

    Attributes
    ----------
    rows : pa.Table
        One row per vector, sorted by survey and object id, with every column of the features but
        ``embedding``, ``status`` and ``message``.
    vectors : (n, d) float32 array
        The embeddings, read-only.
    space_id : str
        Identity of the latent space.
    encoders : dict of str
        Survey name to the hash of its encoder.
    """

    def __init__(
        self, rows: pa.Table, flat: faiss.IndexFlatL2, space_id: str, encoders: dict[str, str]
    ) -> None:
        self.rows = rows
        self.space_id = space_id
        self.encoders = encoders
        self._flat = flat
        self.vectors = _view(flat)
        counts = pc.value_counts(rows["survey"]).to_pylist()
        stops = np.cumsum([item["counts"] for item in counts]).tolist()
        self._spans = {
            item["values"]: (stop - item["counts"], stop)
            for item, stop in zip(counts, stops, strict=True)
        }

    @classmethod
    def build(cls, features: Sequence[Features]) -> Self:
        """Index every row that has an embedding.

        Parameters
        ----------
        features : sequence of Features
            Of one latent space, in any order.

        Raises
        ------
        LatentIndexError
            If spaces, encoders, latent widths or column types differ, a key repeats, an embedding
            is not finite, or there is nothing to index.
        CatalogError
            If a position is missing or out of range.
        """
        space_id, encoders = _one_space(features)
        tables = [_indexable(item) for item in features]
        if not sum(table.num_rows for table in tables):
            raise LatentIndexError(
                f"nothing to index: none of the {sum(item.table.num_rows for item in features)} "
                "rows has an embedding; their status column says why"
            )
        rows = _sorted_by_key(tables)
        embeddings = np.ascontiguousarray(vectors(rows))
        _check_finite(rows, embeddings)
        flat = faiss.IndexFlatL2(embeddings.shape[1])
        flat.add(embeddings)
        return cls(rows.drop_columns("embedding"), flat, space_id, encoders)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open a saved index, its vectors mapped from disk.

        Raises
        ------
        LatentIndexError
            If there is none, or a file is missing, damaged or edited.
        """
        folder = Path(path)
        header = _read_header(folder)
        try:
            return cls._load(folder, header)
        except (LatentIndexError, OSError, RuntimeError):
            if _read_header(folder) == header:
                raise
        return cls.open(folder)  # it was saved over meanwhile

    @classmethod
    def _load(cls, folder: Path, header: dict[str, Any]) -> Self:
        rows_path = _verified(folder, header["files"]["rows"])
        vectors_path = _verified(folder, header["files"]["vectors"])
        with pq.ParquetFile(rows_path, memory_map=True) as file:
            light = [name for name in file.schema_arrow.names if name != "embedding"]
            rows = file.read(columns=light).combine_chunks()
        flat = faiss.read_index(str(vectors_path), faiss.IO_FLAG_MMAP_IFC)
        assert isinstance(flat, faiss.IndexFlatL2)
        found = (rows.num_rows, flat.ntotal, flat.d)
        expected = (header["rows"], header["rows"], header["dimension"])
        if found != expected:
            raise LatentIndexError(
                f"{folder}: its table has {found[0]} rows and its vectors are {found[1]} of width "
                f"{found[2]}, but {HEADER} says {header['rows']} of width {header['dimension']}; "
                "build the index again"
            )
        return cls(rows, flat, header["space_id"], header["encoders"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a folder; one that is there already stays whole until replaced.

        Raises
        ------
        StorageError
            If the folder or a file cannot be written.
        """
        folder = ensure_folder(path)
        old = _named_files(folder)
        embedding = pa.FixedSizeListArray.from_arrays(
            pa.array(self.vectors.reshape(-1)), self.dimension
        )
        rows = self.rows.add_column(len(_KEY), "embedding", embedding)
        files = {
            "rows": _store(folder, "rows", ".parquet", lambda draft: write_table(rows, draft)),
            "vectors": _store(folder, "vectors", ".faiss", self._write_vectors),
        }
        header = {
            "format": _FORMAT,
            "space_id": self.space_id,
            "encoders": self.encoders,
            "rows": len(self),
            "dimension": self.dimension,
            "metric": "euclidean",
            "files": files,
        }
        write_json(folder / HEADER, {**header, "header_sha256": json_hash(header)})
        for name in old - {item["name"] for item in files.values()}:
            (folder / name).unlink(missing_ok=True)

    def _write_vectors(self, path: Path) -> None:
        with atomic_path(path) as temporary:
            try:
                faiss.write_index(self._flat, str(temporary))
            except RuntimeError as error:
                raise OSError(str(error).splitlines()[-1]) from error

    def __len__(self) -> int:
        return int(self._flat.ntotal)

    @property
    def dimension(self) -> int:
        """Number of latent coordinates."""
        return int(self._flat.d)

    @property
    def surveys(self) -> tuple[str, ...]:
        """The surveys that have objects here, sorted."""
        return tuple(self._spans)

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
        if survey not in self._spans:
            raise LatentIndexError(
                f"survey {survey!r} is not in this index; it has {', '.join(self.surveys)}"
            )
        return self._spans[survey]

    def row(self, key: str) -> int:
        """Return the row number of ``survey:object_id``; the id may itself contain ``:``.

        Raises
        ------
        LatentIndexError
            If there is no such object, naming close ones.
        """
        survey, _, object_id = key.partition(":")
        start, stop = self._spans.get(survey, (0, 0))
        found = pc.index(self.rows["object_id"].slice(start, stop - start), object_id).as_py()
        if found < 0:
            raise LatentIndexError(
                f"no object {key!r} in this index, or it has no embedding; {self._hint(key)}"
            )
        return int(start + found)

    def key(self, row: int) -> str:
        """Return ``survey:object_id`` of a row number."""
        return f"{self.rows['survey'][row]}:{self.rows['object_id'][row]}"

    def search(
        self, vectors: np.ndarray, k: int, survey: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest rows of many vectors at once.

        FAISS chooses the rows in float32; their distances are then computed from differences, so
        that near-duplicates come out right.

        Parameters
        ----------
        vectors : (n, d) float array
            Latent vectors.
        k : int
            Rows per vector; fewer where there are not so many.
        survey : str, optional
            Search among its objects only.

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
        with np.errstate(over="ignore"):
            points = np.ascontiguousarray(vectors, dtype=np.float32)
        if points.ndim != 2 or points.shape[1] != self.dimension:
            raise ValueError(
                f"vectors must have shape (n, {self.dimension}) but have {points.shape}; do they "
                "come from the space of this index?"
            )
        if not _usable(points).all():
            raise ValueError("vectors must be finite")
        start, stop = self.span(survey)
        k = min(k, stop - start)
        step = max(1, _BATCH_VALUES // (k * self.dimension))
        selected = faiss.IDSelectorRange(start, stop)
        parts = [
            self._nearest(points[first : first + step], k, selected)
            for first in range(0, max(len(points), 1), step)
        ]
        return (
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
        )

    def _nearest(
        self, points: np.ndarray, k: int, selected: faiss.IDSelector
    ) -> tuple[np.ndarray, np.ndarray]:
        parameters = faiss.SearchParameters()
        parameters.sel = selected
        _, rows = self._flat.search(points, k, params=parameters)
        distances = np.linalg.norm(self.vectors[rows] - points[:, None], axis=-1)  # (n, k)
        order = np.lexsort((rows, distances))
        each = np.arange(len(rows))[:, None]
        return distances[each, order], rows[each, order]

    def _hint(self, key: str) -> str:
        survey, colon, object_id = key.partition(":")
        same = pc.equal(self.rows["object_id"], object_id if colon else key)
        near = [self.key(row) for row in np.flatnonzero(same.to_numpy())[:3]]
        if not near and survey in self._spans:
            start, stop = self._spans[survey]
            ids = self.rows["object_id"].slice(start, stop - start)
            place = pc.sum(pc.less(ids, object_id)).as_py()
            around = ids.slice(max(place - _CLOSE_IDS, 0), 2 * _CLOSE_IDS).to_pylist()
            near = [f"{survey}:{close}" for close in difflib.get_close_matches(object_id, around)]
        if near:
            return f"did you mean {' or '.join(near)}?"
        return f"a key is SURVEY:ID with SURVEY one of {', '.join(self.surveys)}"


def _view(flat: faiss.IndexFlatL2) -> np.ndarray:
    """View the vectors of a FAISS index, (n, d), which they keep alive."""
    memory = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d)
    memory.flags.writeable = False  # they may be mapped read-only: writing would end the process
    owner = SimpleNamespace(__array_interface__=memory.__array_interface__, flat=flat)
    return np.asarray(owner).reshape(flat.ntotal, flat.d)


def _one_space(features: Sequence[Features]) -> tuple[str, dict[str, str]]:
    if not features:
        raise LatentIndexError("nothing to index: no features were given")
    space_id = features[0].space_id
    encoders: dict[str, str] = {}
    for item in features:
        if item.space_id != space_id:
            raise LatentIndexError(
                f"features of space {space_id[:12]} and of space {item.space_id[:12]} cannot share "
                "an index; extract all of them with one space"
            )
        for survey, encoder in item.encoders.items():
            if encoders.setdefault(survey, encoder) != encoder:
                raise LatentIndexError(
                    f"{survey}: some features come from encoder {encoders[survey][:12]} and some "
                    f"from {encoder[:12]}; extract all of them with one"
                )
    return space_id, encoders


def _indexable(features: Features) -> pa.Table:
    """Rows with an embedding, keys as strings, positions as float64, key columns first."""
    names = features.table.column_names
    missing = [name for name in (*_KEY, "flags", "embedding") if name not in names]
    if missing:
        raise LatentIndexError(
            f"features lack column {', '.join(map(repr, missing))}; they have {', '.join(names)}"
        )
    kind = features.table.schema.field("embedding").type
    if not (pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32()):
        raise LatentIndexError(
            f"column 'embedding' must be fixed-size lists of float32 but is {kind}"
        )
    table = features.ok()
    for name, wanted in zip(_KEY, (pa.string(),) * 2 + (pa.float64(),) * 2, strict=True):
        column = table[name].cast(wanted)
        table = table.set_column(table.column_names.index(name), name, column)
    left = [name for name in names if name not in (*_KEY, "status", "message")]
    return table.select([*_KEY, *left])


def _sorted_by_key(tables: Sequence[pa.Table]) -> pa.Table:
    widths = {table.schema.field("embedding").type.list_size for table in tables}
    if len(widths) > 1:
        raise LatentIndexError(
            f"embeddings have widths {', '.join(map(str, sorted(widths)))}; one index takes one"
        )
    try:
        rows = pa.concat_tables(tables, promote_options="permissive").replace_schema_metadata()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise LatentIndexError(f"features disagree about a column: {error}") from error
    for name in ("object_id", "survey"):
        if rows[name].null_count:
            raise LatentIndexError(
                f"features: {rows[name].null_count} rows have no {name}; every row needs one"
            )
    colon = pc.match_substring(rows["survey"], ":")
    if pc.any(colon).as_py():
        raise LatentIndexError(
            f"survey {rows['survey'].filter(colon)[0].as_py()!r}: a survey name cannot contain ':'"
        )
    check_positions(rows["ra"].to_numpy(), rows["dec"].to_numpy(), "features")
    try:
        check_unique(rows, ("survey", "object_id"), "features")
    except TableError as error:
        raise LatentIndexError(str(error)) from error
    order = pc.sort_indices(rows, [("survey", "ascending"), ("object_id", "ascending")])
    return rows.take(order).combine_chunks()


def _usable(points: np.ndarray) -> np.ndarray:
    """Rows that are finite and whose squared distances float32 can hold."""
    with np.errstate(over="ignore", invalid="ignore"):
        usable: np.ndarray = np.isfinite(8 * np.einsum("ij,ij->i", points, points))
    return usable


def _check_finite(rows: pa.Table, embeddings: np.ndarray) -> None:
    usable = _usable(embeddings)
    if not usable.all():
        row = int(np.argmin(usable))
        raise LatentIndexError(
            f"{rows['survey'][row]}:{rows['object_id'][row]}: embedding is not finite; "
            f"{int((~usable).sum())} of {len(usable)} are not; extract them again"
        )


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LatentIndexError(
            f"{folder}: no index here ({HEADER}: {error.strerror}); make one with "
            f"`galaxy-da index FEATURES --out {folder}`"
        ) from error
    except ValueError as error:
        raise LatentIndexError(f"{path}: is not JSON ({error}); build the index again") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise LatentIndexError(
            f"{path}: is not an index of format {_FORMAT}, the one read here; build it again"
        )
    if header.pop("header_sha256", None) != json_hash(header):
        raise LatentIndexError(f"{path}: was edited or damaged; build the index again")
    return header


def _named_files(folder: Path) -> set[str]:
    """Names of the data files of the index now in a folder, if it holds one."""
    try:
        return {item["name"] for item in _read_header(folder)["files"].values()}
    except LatentIndexError:
        return set()


def _verified(folder: Path, entry: dict[str, str]) -> Path:
    path = folder / entry["name"]
    try:
        digest = file_hash(path)
    except OSError as error:
        raise LatentIndexError(
            f"{path}: cannot be read ({error.strerror}) though {HEADER} names it; build the index "
            "again"
        ) from error
    if digest != entry["sha256"]:
        raise LatentIndexError(
            f"{path}: is damaged (its SHA-256 starts {digest[:12]}, expected "
            f"{entry['sha256'][:12]}); build the index again"
        )
    return path


def _store(folder: Path, kind: str, suffix: str, write: Callable[[Path], None]) -> dict[str, str]:
    """Write a file, name it by its content, and return its entry in the header."""
    draft = folder / f".{kind}.{os.getpid()}{suffix}"
    try:
        write(draft)
        digest = file_hash(draft)
        name = f"{kind}-{digest[:12]}{suffix}"
        draft.replace(folder / name)
    finally:
        draft.unlink(missing_ok=True)
    return {"name": name, "sha256": digest}
