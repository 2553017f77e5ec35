"""Compare the index with raw FAISS on the same vectors, and measure how it grows.

``python -m benchmarks.index [VECTORS ...] [--kinds KIND ...]`` prints the tables. Vectors are drawn
from a Gaussian mixture of ten intrinsic dimensions, similar to latents. Queries are drawn from the
same mixture and are not in the index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import faiss
import numpy as np
import pyarrow as pa

from benchmarks.support.commands import command_parser
from benchmarks.support.features import synthetic_table
from benchmarks.support.tables import print_rows
from galaxy_da.index import create, kinds
from galaxy_da.io.features import part_path, write_header
from galaxy_da.io.tables import write_table
from galaxy_da.latent_index import LatentIndex

SIZES = (100_000, 1_000_000, 10_000_000)
_SEARCH_TITLE = "Search beside raw FAISS (ratio: our time over that of FAISS)"
_FILTER_TITLE = "Conditions applied within the search, or after it"
_GROWTH_TITLE = "Growth of the index"

_BATCH = 1000
_SINGLES = 100
_QUERIES = 500
_SEED = 0
_COMPONENTS = 64
_INTRINSIC = 10
_NOISE = 0.1
_PART_ROWS = 1 << 18
_SHARES = (0.5, 0.1, 0.01, 0.001)
_FILTERED_AT_MOST = 1_000_000


class SearchTiming(TypedDict):
    """Time of one kind of query, ours beside raw FAISS.

    Attributes
    ----------
    query : str
        Kind of query.
    faiss_per_s, galaxy_da_per_s : float
        Queries per second, the best of the repeats.
    ratio : float
        Time of `LatentIndex` over time of FAISS, median over alternating repeats.
    cpu_ratio : float
        The same ratio of processor time.
    """

    query: str
    faiss_per_s: float
    galaxy_da_per_s: float
    ratio: float
    cpu_ratio: float


class Growth(TypedDict):
    """Measurements of an index of one size.

    Attributes
    ----------
    build_s, open_s : float
        Time from feature folders to the index folder, and to open it in a fresh process.
    search_bytes : float
        Bytes per vector read by every search; 4 d for a flat index.
    open_mb, queried_mb : float
        Private memory of that process beyond interpreter and libraries, once open and after the
        queries.
    recall : float
        Share of the ten nearest vectors found.
    ms : float
        Time per single query.
    flat_ms : float
        The same for an exhaustive search by raw FAISS.
    """

    vectors: int
    kind: str
    build_s: float
    open_s: float
    search_bytes: float
    open_mb: float
    queried_mb: float
    recall: float
    ms: float
    flat_ms: float


def synthetic_latents(n: int, dimension: int = 40, seed: int = _SEED) -> np.ndarray:
    """Draw from a fixed Gaussian mixture of thin, sheet-like components.

    Returns
    -------
    (n, dimension) float32 array
    """
    fixed = np.random.default_rng(_SEED)
    shape = (_COMPONENTS, _INTRINSIC, dimension)
    sheets = fixed.normal(scale=_INTRINSIC**-0.5, size=shape).astype(np.float32)
    centres = fixed.normal(size=(_COMPONENTS, dimension)).astype(np.float32)
    rng = np.random.default_rng([_SEED, seed])
    owner = rng.integers(_COMPONENTS, size=n)
    latents = _NOISE * rng.standard_normal((n, dimension), dtype=np.float32)
    for component in range(_COMPONENTS):
        own = np.flatnonzero(owner == component)
        inner = rng.standard_normal((len(own), _INTRINSIC), dtype=np.float32)
        latents[own] += centres[component] + inner @ sheets[component]
    return latents


def benchmark_search(
    n: int = 100_000, dimension: int = 40, k: int = 10, repeats: int = 9, kind: str = "auto"
) -> list[SearchTiming]:
    """Time searches for similar vectors.

    Parameters
    ----------
    n, dimension : int
        Number and width of the indexed vectors.
    k : int
        Number of neighbours.
    repeats : int
        Timings of each kind of query.
    kind : str
        Kind of the index; FAISS searches the same structure with the same parameters.

    Returns
    -------
    list of SearchTiming
        A batch by `LatentIndex.search`, single vectors by `search` and by `similar` (which also
        makes the result table), and single objects of the index by `similar`.
    """
    with tempfile.TemporaryDirectory() as folder:
        create(Path(folder) / "index", [write_features(Path(folder), n, dimension)], kind=kind)
        index = LatentIndex.open(Path(folder) / "index")
    raw_search = _bare_search(index, k)
    batch = synthetic_latents(_BATCH, dimension, seed=1)
    singles = batch[:_SINGLES]
    members = np.linspace(0, n - 1, _SINGLES, dtype=np.int64)

    def each(
        items: Sequence[Any] | np.ndarray, query_one: Callable[[Any], object]
    ) -> Callable[[], None]:
        def work() -> None:
            for item in items:
                query_one(item)

        return work

    raw_singles = each(singles, lambda vector: raw_search(vector[None]))
    search_singles = each(singles, lambda vector: index.search(vector[None], k))
    similar_singles = each(singles, lambda vector: index.similar(vector, k))
    raw_members = each(index.vectors[members], lambda vector: raw_search(vector[None]))
    similar_ids = each(
        [index.key(row) for row in members.tolist()], lambda key: index.similar(key, k)
    )
    name = index.segments[0].kind
    ways: list[tuple[str, int, Callable[[], object], Callable[[], object]]] = [
        (
            f"{name}: batch of {_BATCH}",
            _BATCH,
            partial(raw_search, batch),
            partial(index.search, batch, k),
        ),
        (f"{name}: one vector, search", _SINGLES, raw_singles, search_singles),
        (f"{name}: one vector, similar", _SINGLES, raw_singles, similar_singles),
        (f"{name}: one id, similar", _SINGLES, raw_members, similar_ids),
    ]
    return [_compare(name, count, theirs, ours, repeats) for name, count, theirs, ours in ways]


def growth_rows(
    sizes: Sequence[int] = SIZES, dimension: int = 40, kind: str = "auto"
) -> Iterator[Growth]:
    """Build, open and query an index of each size.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of vectors; ten million take about 4 GB of disk and 2 GB of memory.
    dimension : int
        Width of the vectors.
    kind : str
        Kind of index.
    """
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            yield _growth(Path(folder), n, dimension, kind)


def filter_rows(
    n: int = 300_000, dimension: int = 40, kind: str = "ivfpq"
) -> Iterator[dict[str, float]]:
    """Compare applying a condition within the search with dropping results after it.

    The search without the condition returns twice as many neighbours as needed to keep ten.
    """
    with tempfile.TemporaryDirectory() as folder:
        create(Path(folder) / "index", [write_features(Path(folder), n, dimension)], kind=kind)
        index = LatentIndex.open(Path(folder) / "index")
    queries = synthetic_latents(_SINGLES, dimension, seed=1)
    uniform = index.rows["uniform"].to_numpy()
    for share in _SHARES:
        where = [("uniform", "<", share)]
        start = time.perf_counter()
        within = index.select(where=where)
        select_s = time.perf_counter() - start
        truth = index.search(queries, 10, within, exact=True)[0]
        wide = int(20 / share)
        start = time.perf_counter()
        pushed = np.concatenate([index.search(query[None], 10, within)[0] for query in queries])
        middle = time.perf_counter()
        dropped = [_kept(*index.search(query[None], wide), uniform < share) for query in queries]
        end = time.perf_counter()
        yield {
            "share": share,
            "select_ms": 1e3 * select_s,
            "pushed_ms": 1e3 * (middle - start) / _SINGLES,
            "pushed_recall": float(np.mean(pushed <= truth[:, -1:] * (1 + 1e-5))),
            "after_ms": 1e3 * (end - middle) / _SINGLES,
            "after_recall": float(np.mean(np.stack(dropped) <= truth[:, -1:] * (1 + 1e-5))),
        }


def _growth(folder: Path, n: int, dimension: int, kind: str) -> Growth:
    features = write_features(folder, n, dimension)
    path = folder / "index"
    start = time.perf_counter()
    create(path, [features], kind=kind)
    build_s = time.perf_counter() - start
    queries = synthetic_latents(_QUERIES, dimension, seed=1)
    np.save(folder / "queries.npy", queries)
    done = subprocess.run(
        [sys.executable, "-c", _OPEN, str(path), str(folder / "queries.npy")],
        capture_output=True,
        text=True,
        check=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout)
    index = LatentIndex.open(path)
    (segment,) = index.segments
    assert segment.files is not None
    search = segment.files.search or segment.files.vectors
    start = time.perf_counter()
    for query in queries[:20]:
        kinds.nearest(segment.vectors, query[None], 10, None)
    flat_ms = 1e3 * (time.perf_counter() - start) / 20
    truth = np.sqrt(faiss.knn(queries, segment.vectors, 10)[0][:, -1:])
    found = index.search(queries, 10)[0]
    return Growth(
        vectors=n,
        kind=segment.kind,
        build_s=build_s,
        open_s=measured["open_s"],
        search_bytes=search.bytes / n,
        open_mb=measured["open_mb"],
        queried_mb=measured["queried_mb"],
        recall=float(np.mean(found <= truth * (1 + 1e-4))),
        ms=measured["ms"],
        flat_ms=flat_ms,
    )


_OPEN = """
import json, sys, time
import numpy as np
from galaxy_da.latent_index import LatentIndex

def own_mb():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["RssAnon"].split()[0]) / 1e3

queries, before, start = np.load(sys.argv[2]), own_mb(), time.perf_counter()
index = LatentIndex.open(sys.argv[1])
opened, open_mb = time.perf_counter() - start, own_mb() - before
index.search(queries[:1], 10)
start = time.perf_counter()
for query in queries:
    index.search(query[None], 10)
ms = 1e3 * (time.perf_counter() - start) / len(queries)
print(json.dumps({"open_s": opened, "open_mb": open_mb, "queried_mb": own_mb() - before, "ms": ms}))
"""


def _bare_search(index: LatentIndex, k: int) -> Callable[[np.ndarray], object]:
    """Return the bare FAISS search behind an index of one segment."""
    (segment,) = index.segments
    raw = segment.search
    if raw is None:
        flat = faiss.IndexFlatL2(index.dimension)
        flat.add(index.vectors[:])
        return lambda points: flat.search(points, k)
    wide = max(3 * k, 30)
    how = kinds.parameters(raw, wide, 1, None)
    return lambda points: raw.search(points, wide, params=how)


def _kept(found: np.ndarray, rows: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return distances of the ten nearest allowed rows, padded with infinity."""
    kept = found[0][allowed[rows[0]]][:10]
    return np.pad(kept, (0, 10 - len(kept)), constant_values=np.inf)


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
    best = count / times[..., 0].min(axis=0)
    ratio, cpu_ratio = np.median(times[:, 1] / times[:, 0], axis=0).tolist()
    return SearchTiming(
        query=name,
        faiss_per_s=float(best[0]),
        galaxy_da_per_s=float(best[1]),
        ratio=ratio,
        cpu_ratio=cpu_ratio,
    )


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall and processor time [s]."""
    start = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def write_features(folder: Path, n: int, dimension: int) -> Path:
    """Write a feature folder of synthetic latents, part by part."""
    out = folder / "features"
    starts = range(0, n, _PART_ROWS)
    for number, low in enumerate(starts):
        rows = min(_PART_ROWS, n - low)
        table = synthetic_table(synthetic_latents(rows, dimension, seed=2 + number), low, n)
        uniform = np.random.default_rng(number).random(rows)
        write_table(table.append_column("uniform", pa.array(uniform)), part_path(out, number))
    made_by = {"space_id": "benchmark", "encoders": {"decals": "benchmark"}}
    write_header(out, len(starts), n, made_by)
    return out


def main() -> None:
    """Print the tables."""
    parser = command_parser("index", __doc__)
    parser.add_argument("vectors", nargs="*", type=int, default=SIZES)
    parser.add_argument("--kinds", nargs="+", choices=("auto", *kinds.KINDS), default=["auto"])
    given = parser.parse_args()
    for kind in ("flat", "ivfpq"):
        print_rows(_SEARCH_TITLE, benchmark_search(kind=kind))
    for n in given.vectors:
        if n <= _FILTERED_AT_MOST:
            print_rows(f"{_FILTER_TITLE}, {n:,} vectors", list(filter_rows(n)))
        print_rows(_GROWTH_TITLE, [next(growth_rows([n], kind=kind)) for kind in given.kinds])


if __name__ == "__main__":
    main()
