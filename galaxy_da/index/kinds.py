"""How a segment is searched: by comparing with all of it, in cells of codes, or on a graph.

==========  =====================================================  ================================
kind        what it keeps in memory, per vector of d dimensions    finds of the ten nearest
==========  =====================================================  ================================
``flat``    4 d bytes                                              all
``ivfpq``   d / 2 + 8 bytes: product codes in cells, and ids      99% and more
``hnsw``    d + 144 bytes: 8-bit vectors and a graph of 16 links   95% and more
==========  =====================================================  ================================

Whatever the kind, candidates are compared again by their exact vectors, which stay on disk and are
mapped. ``auto`` takes ``flat`` up to `FLAT_ROWS`, where comparing with all takes about a
millisecond, if they fit the memory, and else ``ivfpq``. It never takes ``hnsw``: for a million
latents of 40 dimensions that took 7 times as long to build and 6 times the memory, found less and
was no faster. Fewer than `TRAINING_ROWS` vectors are always ``flat``: codes are fitted to vectors.

References
----------
Johnson et al. 2019, IEEE Trans. Big Data 7, 535 (FAISS); Malkov & Yashunin 2020, IEEE TPAMI 42, 824
(HNSW); Jégou et al. 2011, IEEE TPAMI 33, 117 (product quantisation).
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from typing import Any

import faiss as typed_faiss
import numpy as np

__all__ = [
    "CHUNK",
    "FLAT_ROWS",
    "KINDS",
    "TRAINING_ROWS",
    "Cost",
    "build",
    "check_kind",
    "choose",
    "cost",
    "default_memory",
    "fill",
    "mapped",
    "nearest",
    "parameters",
    "trained",
]

KINDS = ("flat", "ivfpq", "hnsw")

FLAT_ROWS = 100_000
TRAINING_ROWS = 10_000

faiss: Any = typed_faiss  # whose stubs lack half of what is used here

CHUNK = 1 << 17
"""Vectors added at a time."""

_LINKS = 16
_BUILD_BEAM = 64
_BEAM = 128
_PROBES = 16
_CELL_SAMPLE = 64
_ROW_BYTES = 60


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What an index takes.

    Attributes
    ----------
    memory_bytes : int
        What searches read all the time, and so must stay in memory to be fast.
    disk_bytes : int
        All files: vectors, what is searched, and rows of ids, positions, variances and a few
        columns.
    build_bytes : int
        Memory while it is built from feature folders.
    """

    kind: str
    rows: int
    dimension: int
    memory_bytes: int
    disk_bytes: int
    build_bytes: int

    def as_dict(self) -> dict[str, int | str]:
        """Return the figures by name."""
        return asdict(self)


def cost(rows: int, dimension: int, kind: str = "auto", memory_bytes: int | None = None) -> Cost:
    """Say what an index will take, before it is built.

    Parameters
    ----------
    rows, dimension : int
        Number and width of the vectors.
    kind : str
        ``auto`` or one of `KINDS`.
    memory_bytes : int, optional
        What ``auto`` may use; by default half of the machine's memory.

    Raises
    ------
    ValueError
        If the kind is unknown.
    """
    kind = choose(rows, dimension, kind, memory_bytes)[0]
    vectors = 4 * rows * dimension
    search = {
        "flat": 0,
        "hnsw": rows * (dimension + 8 * _LINKS + 16),
        "ivfpq": rows * (_codes(dimension) + 8) + 4 * dimension * (_cells(rows) + 256),
    }[kind]
    keys = rows * _ROW_BYTES
    return Cost(
        kind=kind,
        rows=rows,
        dimension=dimension,
        memory_bytes=search or vectors,
        disk_bytes=2 * vectors + search + keys,
        build_bytes=2 * search + keys + 4 * dimension * _CELL_SAMPLE * _cells(rows) + (1 << 30),
    )


def choose(
    rows: int, dimension: int, kind: str = "auto", memory_bytes: int | None = None
) -> tuple[str, str]:
    """Return the kind of a segment and why.

    Raises
    ------
    ValueError
        If the kind is unknown.
    """
    check_kind(kind)
    if rows < TRAINING_ROWS:
        return "flat", f"{rows:,} vectors, fewer than the {TRAINING_ROWS:,} codes are fitted to"
    if kind != "auto":
        return kind, "asked for"
    budget = default_memory() if memory_bytes is None else memory_bytes
    need = 4 * rows * dimension
    if rows > FLAT_ROWS:
        return "ivfpq", f"{rows:,} vectors, more than {FLAT_ROWS:,}: comparing with all is slow"
    if need > budget:
        given = f"more than the {budget / 1e6:,.1f} MB given"
        return "ivfpq", f"{rows:,} vectors take {need / 1e6:,.1f} MB, {given}"
    return "flat", f"{rows:,} vectors, no more than {FLAT_ROWS:,}: comparing with all is fast"


def check_kind(kind: str) -> None:
    """Refuse a kind that there is not.

    Raises
    ------
    ValueError
        Naming those there are.
    """
    if kind not in ("auto", *KINDS):
        raise ValueError(f"kind must be auto, {', '.join(KINDS)} but is {kind!r}")


def default_memory() -> int:
    """Half of the machine's memory [bytes]."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def build(vectors: np.ndarray, kind: str) -> Any:
    """Make what a segment is searched with, reading its vectors a chunk at a time.

    Parameters
    ----------
    vectors : (n, d) float32 array
        May be mapped from disk.
    kind : str
        One of `KINDS`.

    Returns
    -------
    faiss.Index or None
        None for ``flat``, which needs nothing beside the vectors.
    """
    if kind == "flat":
        return None
    index = trained(vectors, kind)
    fill(index, vectors)
    return index


def trained(vectors: np.ndarray, kind: str) -> Any:
    """Return an empty index fitted to a sample of the vectors, not of kind ``flat``."""
    n, dimension = vectors.shape
    if kind == "hnsw":
        index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_8bit, _LINKS)
        index.hnsw.efConstruction = _BUILD_BEAM
    else:
        cells = faiss.IndexFlatL2(dimension)
        index = faiss.IndexIVFPQ(cells, dimension, _cells(n), _codes(dimension), 8)
        index.cp.max_points_per_centroid = _CELL_SAMPLE
        index.cp.niter = 10
        index.use_precomputed_table = -1  # it takes more memory than the codes, and no less time
    sample = np.random.default_rng(0).choice(n, min(n, _CELL_SAMPLE * _cells(n)), replace=False)
    index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    return index


def fill(index: Any, vectors: np.ndarray) -> None:
    """Add vectors to a trained index, a chunk at a time."""
    for low in range(0, len(vectors), CHUNK):
        index.add(np.ascontiguousarray(vectors[low : low + CHUNK]))


def mapped(path: str) -> Any:
    """Open what `build` made and FAISS wrote, its codes and graph mapped from disk."""
    return faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE)


def parameters(index: Any, k: int, share: float, selector: Any) -> Any:
    """Return how widely FAISS is to search for k among a share of the rows."""
    if isinstance(index, faiss.IndexHNSW):
        beam = math.ceil(max(_BEAM, 2 * k) / share)
        return faiss.SearchParametersHNSW(sel=selector, efSearch=beam)
    probes = math.ceil(_PROBES * max(1, k / 100) / share**0.5)
    return faiss.SearchParametersIVF(sel=selector, nprobe=min(probes, index.nlist))


def nearest(vectors: np.ndarray, points: np.ndarray, k: int, selector: Any) -> np.ndarray:
    """Return the places of the k nearest vectors, (n, k), comparing with all that are selected."""
    squared = np.empty((len(points), k), np.float32)
    places = np.empty((len(points), k), np.int64)
    faiss.knn_L2sqr(
        faiss.swig_ptr(points),
        faiss.swig_ptr(vectors),
        vectors.shape[1],
        len(points),
        len(vectors),
        k,
        faiss.swig_ptr(squared),
        faiss.swig_ptr(places),
        None,
        selector,
    )
    return places


def _cells(rows: int) -> int:
    """Cells of an inverted file: about two times the root of its rows, 40 rows to fit each."""
    wanted: int = 2 ** round(math.log2(2 * math.sqrt(max(rows, 1))))
    return max(1, min(wanted, rows // 40))


def _codes(dimension: int) -> int:
    """Bytes of a product code: one for two dimensions, or one each where they are odd."""
    return dimension // 2 if dimension % 2 == 0 else dimension
