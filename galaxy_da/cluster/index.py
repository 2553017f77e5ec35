"""An index whose vectors are coded on Dask workers, shard by shard.

This process trains the quantiser on a sample of the vectors and sends it to each worker once. Each
worker codes shards of consecutive vectors, and FAISS merges the codes in order. The file is the
same, byte for byte, as that of a single process.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import faiss as typed_faiss
import numpy as np

from galaxy_da.cluster.scheduling import IN_PROCESS, Runner, Shared, running, worker_location
from galaxy_da.errors import StorageError
from galaxy_da.index import create, kinds
from galaxy_da.index.sources import Source
from galaxy_da.io.storage import PathOrUrl

faiss: Any = typed_faiss  # its type stubs lack half of what is used here

SHARD_ROWS = 4 * kinds.CHUNK
"""Vectors that a worker codes at a time."""


def create_on_workers(
    path: PathOrUrl,
    features: Sequence[Source],
    *,
    kind: str = "auto",
    scheduler: str | None = None,
) -> None:
    """Index every row that has an embedding, as `galaxy_da.index.create` does.

    The workers must see `path`. For a URL only workers of this machine can be used, because the
    index is made in the user's cache first. `scheduler` is as for `running`; if all its workers are
    lost, an old index stays.
    """
    folder = worker_location(path, IN_PROCESS[0])
    if scheduler not in (None, *IN_PROCESS) and not isinstance(folder, Path):
        raise StorageError(
            f"{path}: is made in the cache of this machine first, where the workers of {scheduler} "
            "do not see it; leave the scheduler out, or give a path that all see and copy the "
            "folder, which is an index there too"
        )
    with running(scheduler) as run:
        create(folder, features, kind=kind, build=partial(_build, run))


def _build(run: Runner, vectors: np.memmap[Any, Any], kind: str) -> Any:
    """Code vectors that are mapped from a file, as `kinds.build` does."""
    import dask

    if kind == "flat":
        return None
    index = kinds.trained(vectors)
    shared = run.share(faiss.serialize_index(index))
    coded = dask.delayed(_coded, pure=False)
    path, starts = str(vectors.filename), range(0, len(vectors), SHARD_ROWS)
    tasks = (coded(shared, path, slice(low, low + SHARD_ROWS)) for low in starts)
    for codes in run.in_order(tasks):
        index.merge_from(faiss.deserialize_index(codes), index.ntotal)
    return index


def _coded(shared: Shared[np.ndarray], path: str, rows: slice) -> np.ndarray:
    """Return an index of one shard, as bytes."""
    index = faiss.deserialize_index(shared.get())
    kinds.fill(index, np.load(path, mmap_mode="r")[rows])
    return np.asarray(faiss.serialize_index(index))
