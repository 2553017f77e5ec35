"""Compare the product codes of an index with RaBitQ codes, which need no training of their own.

``python -m benchmarks.index_codes [VECTORS ...]`` prints a table for each size. Both kinds of codes
lie in the same number of cells, of which 16 are searched. Candidates are compared again by their
exact vectors, as the index does. Times are of one thread's processor.

References
----------
Gao & Long 2024, Proc. ACM Manag. Data 2, 167 (RaBitQ, arXiv:2405.12497).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import faiss as typed_faiss
import numpy as np

from benchmarks.index import synthetic_latents
from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.index import kinds

faiss: Any = typed_faiss  # its type stubs lack half of the functions used here

_K = 10
_QUERIES = 300
_PROBES = 16
_CANDIDATES = (33, 100, 200)
_BITS = (1, 2, 4)
_CELL_SAMPLE = 64


def code_rows(n: int, dimension: int = 40, bits: tuple[int, ...] = _BITS) -> list[dict[str, Any]]:
    """Measure memory, build, recall and search of each kind of codes.

    Parameters
    ----------
    n, dimension : int
        Number and width of the vectors.
    bits : tuple of int
        Bits of each coordinate of RaBitQ codes.

    Returns
    -------
    list of dict
        By codes and number of candidates: ``bytes`` of a vector, ``build_s``, ``recall`` of the ten
        nearest, and ``us``, the time of one query without the exact comparison.
    """
    vectors = synthetic_latents(n, dimension, seed=2)
    queries = synthetic_latents(_QUERIES, dimension, seed=1)
    truth = faiss.knn(queries, vectors, _K)[0][:, -1]
    makers: dict[str, Callable[[], Any]] = {"IVF-PQ": partial(kinds.trained, vectors)}
    for count in bits:
        makers[f"RaBitQ, {count} bit"] = partial(_rabitq, vectors, count)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return [
            row for name in makers for row in _rows(name, makers[name], vectors, queries, truth)
        ]
    finally:
        faiss.omp_set_num_threads(threads)


def _rows(
    name: str, make: Callable[[], Any], vectors: np.ndarray, queries: np.ndarray, truth: np.ndarray
) -> list[dict[str, Any]]:
    start = time.process_time()
    index = make()
    kinds.fill(index, vectors)
    build_s = time.process_time() - start
    size = len(faiss.serialize_index(index)) / len(vectors)
    rows = []
    for candidates in _CANDIDATES:
        how = faiss.SearchParametersIVF(nprobe=min(_PROBES, index.nlist))
        times, found = [], []
        for query, farthest in zip(queries, truth, strict=True):
            start = time.process_time()
            places = index.search(query[None], candidates, params=how)[1][0]
            times.append(time.process_time() - start)
            apart = vectors[places[places >= 0]] - query
            squared = np.sort(np.einsum("nd,nd->n", apart, apart))[:_K]
            found.append((squared <= farthest * (1 + 1e-4)).sum() / _K)
        rows.append(
            {
                "codes": name,
                "bytes": size,
                "build_s": build_s,
                "candidates": candidates,
                "recall": float(np.mean(found)),
                "us": 1e6 * float(np.median(times)),
            }
        )
    return rows


def _rabitq(vectors: np.ndarray, bits: int) -> Any:
    """Return an empty index of RaBitQ codes, fitted to as many vectors as `kinds.trained` takes."""
    n, dimension = vectors.shape
    count = 2 ** round(math.log2(2 * math.sqrt(n)))
    cells = faiss.IndexFlatL2(dimension)
    index = faiss.IndexIVFRaBitQFastScan(cells, dimension, count, faiss.METRIC_L2, 32, True, bits)
    index.cp.max_points_per_centroid, index.cp.niter = _CELL_SAMPLE, 10
    sample = np.random.default_rng(0).choice(n, min(n, _CELL_SAMPLE * count), replace=False)
    index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    return index


def main() -> None:
    """Print the tables."""
    parser = command_parser("index_codes", __doc__)
    parser.add_argument("vectors", nargs="*", type=int, default=[100_000, 1_000_000])
    for n in parser.parse_args().vectors:
        print_rows(f"Codes of {n:,} vectors", code_rows(n))


if __name__ == "__main__":
    main()
