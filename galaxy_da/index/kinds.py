"""Search methods of a segment: exhaustive, or product codes in cells.

=========  ======================================================  =========================
kind       memory per vector of d dimensions                       share of 10 nearest found
=========  ======================================================  =========================
``flat``   4 d bytes                                               all
``ivfpq``  d / 2 + 8 bytes: product codes in cells, and row ids    99% and more
=========  ======================================================  =========================

Codes only choose candidates. Distances are then computed from the exact vectors, which are mapped
from disk. ``auto`` chooses ``flat`` up to `FLAT_ROWS` vectors, where an exhaustive search takes
about a millisecond, and ``ivfpq`` beyond. Fewer than `TRAINING_ROWS`
vectors are always ``flat``, because they are too few to fit codes to.

References
----------
Johnson et al. 2019, IEEE Trans. Big Data 7, 535 (FAISS); Jégou et al. 2011, IEEE TPAMI 33, 117
(product quantisation).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import faiss as typed_faiss
import numpy as np

KINDS = ("flat", "ivfpq")

FLAT_ROWS = 100_000
TRAINING_ROWS = 10_000

faiss: Any = typed_faiss  # its type stubs lack half of the functions used here

CHUNK = 1 << 17
"""Vectors added at a time."""

_PROBES = 16
_CELL_SAMPLE = 64
_ROW_BYTES = 60


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Memory and disk that an index takes [bytes]."""

    kind: str
    rows: int
    dimension: int
    memory_bytes: int  # that every search reads: searches are fast only while it stays in memory
    disk_bytes: int  # of all files: vectors, search structures and rows
    build_bytes: int  # memory needed to build the index from feature folders

    def as_dict(self) -> dict[str, int | str]:
        """Return the figures by name."""
        return asdict(self)


def cost(rows: int, dimension: int, kind: str = "auto") -> Cost:
    """Estimate the memory and disk of an index of some vectors before it is built.

    `kind` is as for `StoredIndex.build`.
    """
    kind = choose(rows, kind)[0]
    vectors, search = 4 * rows * dimension, 0
    if kind == "ivfpq":
        search = rows * (_codes(dimension) + 8) + 4 * dimension * (_cells(rows) + 256)
    keys = rows * _ROW_BYTES
    return Cost(
        kind=kind,
        rows=rows,
        dimension=dimension,
        memory_bytes=search or vectors,
        disk_bytes=2 * vectors + search + keys,
        build_bytes=2 * search + keys + 4 * dimension * _CELL_SAMPLE * _cells(rows) + (1 << 30),
    )


def choose(rows: int, kind: str = "auto") -> tuple[str, str]:
    """Return the kind of a segment and the reason for it."""
    check_kind(kind)
    if rows < TRAINING_ROWS:
        return "flat", f"{rows:,} vectors, fewer than the {TRAINING_ROWS:,} needed to fit codes"
    if kind != "auto":
        return kind, "requested"
    if rows > FLAT_ROWS:
        return "ivfpq", f"{rows:,} vectors, more than {FLAT_ROWS:,}: comparing with all is slow"
    return "flat", f"{rows:,} vectors, no more than {FLAT_ROWS:,}: comparing with all is fast"


def check_kind(kind: str) -> None:
    """Raise ValueError for an unknown kind."""
    if kind not in ("auto", *KINDS):
        raise ValueError(f"kind must be auto, {', '.join(KINDS)} but is {kind!r}")


def build(vectors: np.ndarray, kind: str) -> Any:
    """Build the FAISS index of (n, d) float32 vectors; None for ``flat``, which needs none."""
    if kind == "flat":
        return None
    index = trained(vectors)
    fill(index, vectors)
    return index


def trained(vectors: np.ndarray) -> Any:
    """Return an empty ``ivfpq`` index fitted to a sample of the vectors."""
    n, dimension = vectors.shape
    cells = faiss.IndexFlatL2(dimension)
    index = faiss.IndexIVFPQ(cells, dimension, _cells(n), _codes(dimension), 8)
    index.cp.max_points_per_centroid = _CELL_SAMPLE
    index.cp.niter = 10
    index.use_precomputed_table = -1  # it takes more memory than the codes and saves no time
    sample = np.random.default_rng(0).choice(n, min(n, _CELL_SAMPLE * _cells(n)), replace=False)
    index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    return index


def fill(index: Any, vectors: np.ndarray) -> None:
    """Add vectors to a trained index, a chunk at a time."""
    for low in range(0, len(vectors), CHUNK):
        index.add(np.ascontiguousarray(vectors[low : low + CHUNK]))


def mapped(path: str) -> Any:
    """Open a FAISS file with its codes mapped from disk."""
    return faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE)


def parameters(index: Any, k: int, share: float, selector: Any) -> Any:
    """Return FAISS parameters of a search for k rows, where a share of all rows is selected."""
    probes = math.ceil(_PROBES * max(1, k / 100) / share**0.5)
    return faiss.SearchParametersIVF(sel=selector, nprobe=min(probes, index.nlist))


def nearest(vectors: np.ndarray, points: np.ndarray, k: int, selector: Any) -> np.ndarray:
    """Return the places of the k nearest selected vectors, (n, k), by exhaustive search."""
    squared = np.empty((len(points), k), np.float32)
    places = np.empty((len(points), k), np.int64)
    x, y, distance, label = map(faiss.swig_ptr, (points, vectors, squared, places))
    n, dimension = vectors.shape
    faiss.knn_L2sqr(x, y, dimension, len(points), n, k, distance, label, None, selector)
    return places


def _cells(rows: int) -> int:
    """Return the number of cells: about 2 sqrt(rows), with at least 40 rows each."""
    wanted: int = 2 ** round(math.log2(2 * math.sqrt(max(rows, 1))))
    return max(1, min(wanted, rows // 40))


def _codes(dimension: int) -> int:
    """Bytes of a product code: one for two dimensions, or one for each if their number is odd."""
    return dimension // 2 if dimension % 2 == 0 else dimension
