"""Throughput of `LatentIndex` beside raw FAISS on the same vectors in the same process.

Run ``python -m evaluation.benchmarks.index``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypedDict

import faiss
import numpy as np
import pyarrow as pa

from galaxy_da.features import Features
from galaxy_da.index import LatentIndex

__all__ = ["SearchTiming", "benchmark_search"]

_BATCH = 1000
_SINGLES = 100
_SEED = 0


class SearchTiming(TypedDict):
    """One way of asking, ours beside raw FAISS.

    Attributes
    ----------
    query : str
        What was asked.
    faiss_per_s, galaxy_da_per_s : float
        Queries answered per second, the best of the repeats.
    ratio : float
        Time of `LatentIndex` over time of FAISS: the median over the repeats, which alternate
        between the two.
    """

    query: str
    faiss_per_s: float
    galaxy_da_per_s: float
    ratio: float


def benchmark_search(
    n: int = 100_000, dimension: int = 40, k: int = 10, repeats: int = 9
) -> list[SearchTiming]:
    """Time similar-by-vector searches.

    Parameters
    ----------
    n, dimension : int
        Number and width of the indexed vectors, drawn from a unit normal.
    k : int
        Neighbours asked for.
    repeats : int
        Timings of each way.

    Returns
    -------
    list of SearchTiming
        A batch by `LatentIndex.search`, and single vectors by `search` and by `similar`, which also
        makes the answer's table.
    """
    rng = np.random.default_rng(_SEED)
    vectors = rng.standard_normal((n, dimension), dtype=np.float32)
    raw = faiss.IndexFlatL2(dimension)
    raw.add(vectors)
    index = LatentIndex.build([_features(vectors)])
    batch = rng.standard_normal((_BATCH, dimension), dtype=np.float32)
    singles = batch[:_SINGLES]

    def one_by_one(search: Callable[[np.ndarray], object]) -> Callable[[], None]:
        def work() -> None:
            for vector in singles:
                search(vector)

        return work

    raw_batch = partial(raw.search, batch, k)
    raw_singles = one_by_one(lambda vector: raw.search(vector[None], k))
    search_singles = one_by_one(lambda vector: index.search(vector[None], k))
    similar_singles = one_by_one(lambda vector: index.similar(vector, k))
    ways: list[tuple[str, int, Callable[[], object], Callable[[], object]]] = [
        (f"batch of {_BATCH}, search", _BATCH, raw_batch, partial(index.search, batch, k)),
        ("one vector, search", _SINGLES, raw_singles, search_singles),
        ("one vector, similar", _SINGLES, raw_singles, similar_singles),
    ]
    return [_compare(name, count, theirs, ours, repeats) for name, count, theirs, ours in ways]


def _compare(
    name: str,
    count: int,
    theirs: Callable[[], object],
    ours: Callable[[], object],
    repeats: int,
) -> SearchTiming:
    _seconds(theirs)
    _seconds(ours)
    times = np.array([(_seconds(theirs), _seconds(ours)) for _ in range(repeats)])
    best = count / times.min(axis=0)
    return SearchTiming(
        query=name,
        faiss_per_s=float(best[0]),
        galaxy_da_per_s=float(best[1]),
        ratio=float(np.median(times[:, 1] / times[:, 0])),
    )


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _features(vectors: np.ndarray) -> Features:
    n, dimension = vectors.shape
    table = pa.table(
        {
            "object_id": [f"{row:019d}" for row in range(n)],
            "survey": pa.array(["decals"] * n),
            "ra": np.linspace(0, 360, n),
            "dec": np.zeros(n),
            "flags": np.zeros(n, np.int32),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dimension),
        }
    )
    return Features(table=table, space_id="benchmark", encoders={"decals": "benchmark"})


if __name__ == "__main__":
    print(f"{'query':<24}{'faiss/s':>10}{'galaxy_da/s':>13}{'ratio':>8}")
    for row in benchmark_search():
        print(
            f"{row['query']:<24}{row['faiss_per_s']:>10.0f}{row['galaxy_da_per_s']:>13.0f}"
            f"{row['ratio']:>8.2f}"
        )
