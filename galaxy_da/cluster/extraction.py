"""Extraction in partitions of the sky, by `galaxy_da.extraction.pipeline.extract` itself.

Each partition is one task: its sample goes through `extract` in memory, and its features become a
file of a HATS catalogue. A task depends on nothing but its partition, so it may run anywhere, twice
or again after a worker was lost; a partition that is there is not made again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.compute as pc
from tqdm import tqdm

from galaxy_da.cluster.hats_features import DATASET, finish_hats, in_sky_order, partition_name
from galaxy_da.cluster.partitions import AT_ONCE, Partition, PartitionSample, partitions_of
from galaxy_da.cluster.scheduling import Shared, running, seen_by_workers
from galaxy_da.extraction.pipeline import (
    extract,
    extraction_plan,
    start_or_resume,
    table_fingerprint,
)
from galaxy_da.io.features import MANIFEST, Features
from galaxy_da.io.files import json_hash, output_folder, write_json
from galaxy_da.io.storage import Location, PathOrUrl, list_files, read_text
from galaxy_da.io.tables import Sample, open_parquet, read_metadata, with_metadata, write_table
from galaxy_da.models.devices import Precision
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey

__all__ = ["extract_partitions"]

T = TypeVar("T")
U = TypeVar("U")

Extract = Callable[[Sample], Features]


def extract_partitions(
    space: LatentSpace,
    sample: PathOrUrl,
    out: PathOrUrl,
    *,
    scheduler: str | None = None,
    surveys: Sequence[Survey] = (),
    unadapted: bool = False,
    precision: Precision = "auto",
    reconstruct: bool = True,
    partition_rows: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Encode a sample partition by partition into a HATS catalogue of features.

    Parameters
    ----------
    space : LatentSpace
        The space to map into; sent to each worker once.
    sample : path
        A HATS catalogue whose columns are a sample table's, a sample table, or a folder of them;
        where the workers see it too, or a URL.
    out : path
        The HATS catalogue, likewise; an unfinished extraction there is continued with the
        partitions it lacks. `Features.open` and an index read it as well.
    scheduler : str, optional
        As of `galaxy_da.cluster.scheduling.running`.
    surveys, unadapted, precision, reconstruct
        As of `galaxy_da.extraction.pipeline.extract`.
    partition_rows : int, optional
        As of `galaxy_da.cluster.partitions.partitions_of`.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    dict
        ``rows``, ``partitions``, and the number of rows of each status.

    Raises
    ------
    SpaceError, SurveyError, TableError, CatalogError, StorageError
        As `extract`; finished partitions stay.
    ClusterError
        If the scheduler or all workers that take a partition are lost; finished partitions stay.
    """
    given, place = (seen_by_workers(where, scheduler) for where in (sample, out))
    parts = partitions_of(given, partition_rows)
    folder = output_folder(place)
    encoders = {name: space.encoder(name).hash for name in space.surveys}
    plan = {
        **extraction_plan(space, encoders, precision, reconstruct),
        "unadapted": unadapted,
        "surveys": json_hash([survey.model_dump(mode="json") for survey in surveys]),
        "sample": json_hash(_at_once(_identity, parts)),
    }
    if start_or_resume(folder, plan):
        return _told(folder)
    own = partial(
        extract,
        space,
        surveys=surveys,
        unadapted=unadapted,
        precision=precision,
        reconstruct=reconstruct,
    )
    with tqdm(total=len(parts), unit="partition", desc="extract", disable=not progress) as bar:
        there = set(list_files(folder / DATASET))
        missing = [part for part in parts if folder / partition_name(part.pixel) not in there]
        bar.update(len(parts) - len(missing))
        for _ in _run(own, missing, folder, scheduler) if missing else ():
            bar.update()
    _finish(folder, parts, plan)
    return _told(folder)


def _at_once(function: Callable[[T], U], items: Iterable[T]) -> list[U]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(function, items))


def _identity(part: Partition) -> list[Any]:
    return [*part.pixel, *(table_fingerprint(path, part.pixel.n_rows) for path in part.files)]


def _run(
    own: Extract, parts: list[Partition], folder: Location, scheduler: str | None
) -> Iterator[None]:
    import dask

    task = dask.delayed(extract_partition, pure=False)
    with running(scheduler) as run:
        shared = run.share(own)
        yield from run.as_done([task(shared, part, folder) for part in parts])


def extract_partition(shared: Shared[Extract], part: Partition, folder: Location) -> None:
    """Write the features of one partition."""
    features = shared.get()(PartitionSample(part))
    table = in_sky_order(features.table)
    counts = pc.value_counts(table["status"]).to_pylist()
    said = {
        "space_id": features.space_id,
        "encoders": features.encoders,
        "status": {item["values"]: item["counts"] for item in counts},
    }
    write_table(with_metadata(table, said), folder / partition_name(part.pixel))


def _finish(folder: Location, parts: list[Partition], plan: dict[str, Any]) -> None:
    """Describe what is there, once all partitions are."""
    names = [partition_name(part.pixel) for part in parts]
    encoders: dict[str, str] = {}
    status: Counter[str] = Counter()
    for schema in _at_once(lambda name: open_parquet(folder / name).schema_arrow, names):
        said = read_metadata(schema)
        encoders |= said["encoders"]
        status.update(said["status"])
    if isinstance(folder, Path):
        for left in (folder / DATASET).rglob(".*.partial.parquet"):
            left.unlink(missing_ok=True)
    finish_hats(folder, [part.pixel for part in parts])
    manifest = {"format": 1, "parts": names, "rows": status.total(), "status": dict(status)}
    write_json(folder / MANIFEST, {**plan, **manifest, "encoders": encoders})


def _told(folder: Location) -> dict[str, Any]:
    header = json.loads(read_text(folder / MANIFEST))
    return {"rows": header["rows"], "partitions": len(header["parts"]), **header["status"]}
