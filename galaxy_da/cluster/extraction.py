"""Extraction in partitions of the sky.

Each partition is one task: `galaxy_da.extraction.pipeline.extract` encodes it in memory, and its
features become a file of a HATS catalogue. A task depends on its partition alone, so it can run on
any worker, and again if a worker is lost. Finished partitions are not made again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.compute as pc
from tqdm import tqdm

from galaxy_da.cluster.partitions import Partition, PartitionSample, partitions_of
from galaxy_da.cluster.scheduling import Shared, running, worker_location
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.parts import extraction_plan, start_or_resume, table_fingerprint
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.catalogue_output import with_votable_header
from galaxy_da.io.features import MANIFEST, Features, write_header
from galaxy_da.io.files import json_hash, output_folder, remove_drafts
from galaxy_da.io.hats.partitions import AT_ONCE, DATASET, finish_hats, in_sky_order, partition_name
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import Location, PathOrUrl, list_files, read_text
from galaxy_da.io.tables import open_parquet, read_metadata, with_metadata, write_table
from galaxy_da.space import LatentSpace

T = TypeVar("T")
U = TypeVar("U")

Extract = Callable[[Sample], Features]

_DEFAULTS = ExtractSettings()


def extract_partitions(
    space: LatentSpace,
    sample: PathOrUrl,
    out: PathOrUrl,
    settings: ExtractSettings = _DEFAULTS,
    *,
    scheduler: str | None = None,
    partition_rows: int | None = None,
) -> dict[str, Any]:
    """Encode a sample partition by partition into a HATS catalogue of features.

    `sample` is a sample table, a folder of them, or a HATS catalogue with their columns. The
    workers must see it and `out`, where an unfinished extraction is continued; `Features.open`
    reads `out` too. `scheduler` is as for `running`, `partition_rows` as for `partitions_of`.

    Returns ``rows``, ``partitions``, the number of rows of each status, ``readings`` (the way in
    which each survey was read) and ``left_out``, the number of rows without a usable position, if
    there are any: HATS cannot order them. Raises the errors of `extract`, and ClusterError if the
    scheduler or all workers that take a partition are lost; finished partitions stay.
    """
    source, target = (worker_location(where, scheduler) for where in (sample, out))
    parts = partitions_of(source, partition_rows)
    folder = output_folder(target)
    encoders = {name: space.encoder(name).hash for name in space.surveys}
    plan = {
        **extraction_plan(space, encoders, settings),
        "surveys": json_hash([survey.model_dump(mode="json") for survey in settings.surveys]),
        "sample": json_hash(_in_threads(_identity, parts)),
    }
    if start_or_resume(folder, plan):
        return _counts(folder)
    extract_part = partial(extract, space, settings=replace(settings, progress=False))
    hidden = not settings.progress
    with tqdm(total=len(parts), unit="partition", desc="extract", disable=hidden) as bar:
        there = set(list_files(folder / DATASET))
        missing = [part for part in parts if folder / partition_name(part.pixel) not in there]
        bar.update(len(parts) - len(missing))
        for _ in _run(extract_part, missing, folder, scheduler) if missing else ():
            bar.update()
    _finish(folder, parts, plan)
    return _counts(folder)


def _in_threads(function: Callable[[T], U], items: Iterable[T]) -> list[U]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(function, items))


def _identity(part: Partition) -> list[Any]:
    fingerprints = [table_fingerprint(path, part.n_rows) for path in part.files]
    return [*part.pixel, part.n_rows, *fingerprints]


def _run(
    extract_part: Extract, parts: list[Partition], folder: Location, scheduler: str | None
) -> Iterator[None]:
    import dask

    task = dask.delayed(extract_partition, pure=False)
    with running(scheduler) as run:
        shared = run.share(extract_part)
        yield from run.as_done([task(shared, part, folder) for part in parts])


def extract_partition(shared: Shared[Extract], part: Partition, folder: Location) -> None:
    """Write the features of one partition."""
    features = shared.get()(PartitionSample(part))
    table = in_sky_order(features.table)
    counts = pc.value_counts(table["status"]).to_pylist()
    summary = {
        "space_id": features.space_id,
        "encoders": features.encoders,
        "readings": features.readings,
        "status": {item["values"]: item["counts"] for item in counts},
    }
    write_table(with_metadata(table, summary), folder / partition_name(part.pixel))


def _finish(folder: Location, parts: list[Partition], plan: dict[str, Any]) -> None:
    """Describe the catalogue once all its partitions are written."""
    names = [partition_name(part.pixel) for part in parts]
    encoders: dict[str, str] = {}
    readings: dict[str, str] = {}
    status: Counter[str] = Counter()
    for schema in _in_threads(lambda name: open_parquet(folder / name).schema_arrow, names):
        summary = read_metadata(schema)
        encoders |= summary["encoders"]
        readings |= summary["readings"]
        status.update(summary["status"])
    if isinstance(folder, Path):
        remove_drafts(folder / DATASET)
    columns = open_parquet(folder / names[0]).schema_arrow.remove_metadata()
    rows = {part.pixel: part.n_rows for part in parts}
    files = {str(path): path for part in parts if not part.is_whole for path in part.files}
    n_read = sum(open_parquet(path).metadata.num_rows for path in files.values())
    left_out = n_read - sum(rows.values()) if files else 0
    finish_hats(folder, rows, with_votable_header(columns.empty_table()).schema)
    record = {**plan, "status": dict(status), **({"left_out": left_out} if left_out else {})}
    write_header(
        folder, names, status.total(), record | {"encoders": encoders, "readings": readings}
    )


def _counts(folder: Location) -> dict[str, Any]:
    """Return the numbers of rows, of partitions and of rows of each status, and the readings."""
    header = json.loads(read_text(folder / MANIFEST))
    counts = {"rows": header["rows"], "partitions": len(header["parts"]), **header["status"]}
    counts |= {"left_out": header["left_out"]} if "left_out" in header else {}
    return counts | {"readings": header.get("readings", {})}
