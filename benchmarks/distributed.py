"""Measure extraction, index and crossmatch on Dask workers: results, time and memory.

``python -m benchmarks.distributed [--verbs VERB ...] [--sizes N ...] [--workers N ...]`` prints a
table for each verb and size. Each measurement starts its own local cluster, one thread a worker.
Start (processes, imports, a small input on every worker) and steady work are timed apart. On a busy
machine read the processor time, summed over workers, scheduler and client.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.crossmatch import catalogs
from benchmarks.extraction import jpeg_stamps
from benchmarks.index import synthetic_latents, write_features
from benchmarks.support.commands import command_parser
from benchmarks.support.measuring import clocks, in_fresh_process, peak_gib
from benchmarks.support.tables import print_rows

if TYPE_CHECKING:
    from dask.distributed import Client

_TITLE = "On worker processes (workers 0: the local run)"

_STAMPS = 1000  # distinct images; larger samples repeat them
_WIDTH_DEG = 10.0
_DIMENSION = 28
_RADIUS_ARCSEC, _MARGIN_ARCSEC = 1.0, 10.0
_QUERIES = 500
_MIB_OF_GIB = 1024


class _Verb(NamedTuple):
    """Measurement of a verb.

    Attributes
    ----------
    prepare : callable
        Writes an input of n rows to a folder.
    run : callable
        Runs the verb from the folder to an output, on a scheduler or, if None, locally.
    differ : callable
        Returns the difference of two outputs, 0 if equal.
    small : int
        Rows of the input that every process handles first.
    sizes : tuple of int
        Default numbers of rows.
    """

    prepare: Callable[[Path, int], None]
    run: Callable[[Path, Path, str | None], None]
    differ: Callable[[Path, Path], float]
    small: int
    sizes: tuple[int, ...]


def distributed_rows(
    verb: str, n: int, workers: Sequence[int] = (0, 1, 2, 4)
) -> Iterator[dict[str, Any]]:
    """Measure a verb on each number of worker processes.

    Parameters
    ----------
    verb : str
        One of `VERBS`.
    n : int
        Rows of the input.
    workers : sequence of int
        Numbers of processes; 0 is the local run without Dask.

    Yields
    ------
    dict
        ``verb``, ``n``, ``workers``; wall and processor time of the start (``start_s``,
        ``start_cpu_s``) and of steady work (``time_s``, ``cpu_s``; in µs a row ``us_row``,
        ``cpu_us_row``); ``per_core``, rows a second of one core; ``efficiency`` and
        ``efficiency_with_start``, its ratio to the first measurement; peak memory of a worker and
        of the main process [MiB] and its growth since the start in bytes a row (``worker_b_row``,
        ``main_b_row``); ``difference`` from the first output: largest difference of a latent,
        number of differing pairs, or number of differing neighbours of 500 vectors.
    """
    rule = VERBS[verb]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, rows in (("input", n), ("small", rule.small)):
            (folder / part).mkdir()
            in_fresh_process(rule.prepare, folder / part, rows)
        first: tuple[Path, _Measured] | None = None
        for count in workers:
            out = folder / f"out-{count}"
            found: _Measured = in_fresh_process(_measured, verb, folder, out, count)
            first = first or (out, found)
            yield {
                "verb": verb,
                "n": n,
                "workers": count,
                **_row(found, first[1], n),
                "difference": rule.differ(first[0], out),
            }


class _Measured(NamedTuple):
    """Wall and processor time [s] and peak memory of a worker and of this process [MiB]."""

    start_s: np.ndarray
    steady_s: np.ndarray
    start_mib: np.ndarray
    peak_mib: np.ndarray


def _row(found: _Measured, first: _Measured, n: int) -> dict[str, float]:
    (start_s, start_cpu_s), (time_s, cpu_s) = map(float, found.start_s), map(float, found.steady_s)
    first_cpu_s = float(first.steady_s[1])
    growth = (found.peak_mib - found.start_mib) * 2**20 / n
    return {
        "start_s": start_s,
        "start_cpu_s": start_cpu_s,
        "time_s": time_s,
        "cpu_s": cpu_s,
        "us_row": time_s / n * 1e6,
        "cpu_us_row": cpu_s / n * 1e6,
        "per_core": n / cpu_s,
        "efficiency": first_cpu_s / cpu_s,
        "efficiency_with_start": (float(first.start_s[1]) + first_cpu_s) / (start_cpu_s + cpu_s),
        "worker_mib": float(found.peak_mib[0]),
        "worker_b_row": float(growth[0]),
        "main_mib": float(found.peak_mib[1]),
        "main_b_row": float(growth[1]),
    }


def _measured(verb: str, folder: Path, out: Path, workers: int) -> _Measured:
    """Run a verb on the small input, then once on the whole."""
    run, began = VERBS[verb].run, clocks()
    if not workers:
        run(folder / "small", folder / "small-0", None)
        steady, start_mib = clocks(), np.array([np.nan, _peak_mib()])
        run(folder / "input", out, None)
        ended, peak_mib = clocks(), np.array([np.nan, _peak_mib()])
        return _Measured(steady - began, ended - steady, start_mib, peak_mib)
    from dask.distributed import Client

    from galaxy_da.cluster.scheduling import workers_here

    with (
        workers_here(workers) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers)
        addresses = list(client.scheduler_info(n_workers=-1)["workers"])
        first = [
            client.submit(_small, verb, folder, number, workers=[address], pure=False)
            for number, address in enumerate(addresses)
        ]
        client.gather(first)
        run(folder / "small", folder / "small-all", cluster.scheduler_address)
        steady, start_mib = _clocks_of_all(client), _peaks(client)
        run(folder / "input", out, cluster.scheduler_address)
        ended, peak_mib = _clocks_of_all(client), _peaks(client)
    return _Measured(steady - began, ended - steady, start_mib, peak_mib)


def _small(verb: str, folder: Path, number: int) -> None:
    """Run the verb locally on the small input, in this worker."""
    VERBS[verb].run(folder / "small", folder / f"small-of-{number}", None)


def _clocks_of_all(client: Client) -> np.ndarray:
    """Return wall time, and processor time of this process and the workers [s]."""
    time_s, own_cpu_s = clocks()
    return np.array([time_s, own_cpu_s + sum(client.run(_cpu_s).values())])


def _cpu_s() -> float:
    return float(clocks()[1])


def _peaks(client: Client) -> np.ndarray:
    """Return the peak memory of the largest worker and of this process [MiB]."""
    return np.array([max(client.run(_peak_mib).values()), _peak_mib()])


def _peak_mib() -> float:
    return peak_gib() * _MIB_OF_GIB


def _prepare_sample(folder: Path, n: int) -> None:
    """Write JPEG stamps in sky order."""
    from galaxy_da.io.hats.partitions import in_sky_order

    rng = np.random.default_rng(1)
    stamps = jpeg_stamps(min(n, _STAMPS), 1)
    table = pa.table(
        {
            "object_id": [f"g{i:09d}" for i in range(n)],
            "survey": pa.array(["decals"] * n),
            "ra": rng.uniform(150, 150 + _WIDTH_DEG, n),
            "dec": rng.uniform(0, _WIDTH_DEG, n),
            "pixel_scale_arcsec": np.full(n, 0.262),
        }
    )
    images = pa.array([stamps[i % len(stamps)] for i in range(n)], pa.large_binary())
    table = in_sky_order(table).append_column("image", images.cast(pa.binary()))
    pq.write_table(table, folder / "sample.parquet", row_group_size=500)


def _extract(folder: Path, out: Path, scheduler: str | None) -> None:
    from galaxy_da.cluster.extraction import extract_partitions
    from galaxy_da.extraction.pipeline import extract
    from galaxy_da.io.samples import Sample
    from galaxy_da.space import LatentSpace

    space, sample = LatentSpace.load("decals"), folder / "sample.parquet"
    if scheduler is None:
        extract(space, Sample(sample), out)
    else:
        extract_partitions(space, sample, out, scheduler=scheduler)


def _latents_differ(first: Path, second: Path) -> float:
    from galaxy_da.io.features import Features, vectors

    ours, theirs = (Features.open(path).ok().sort_by("object_id") for path in (first, second))
    if not ours["object_id"].equals(theirs["object_id"]):
        return np.inf
    return float(np.abs(vectors(ours) - vectors(theirs)).max())


def _prepare_catalogs(folder: Path, n: int) -> None:
    from galaxy_da.io.hats.catalogues import to_hats

    for name, table in zip(("anchor", "target"), catalogs(n, 1), strict=True):
        rows = min(500_000, max(n // 8, 1000))
        to_hats(table, folder / name, margin_arcsec=_MARGIN_ARCSEC, partition_rows=rows)


def _match(folder: Path, out: Path, scheduler: str | None) -> None:
    from catalogs.hats.matching import crossmatch_hats

    crossmatch_hats(
        folder / "anchor",
        folder / "target",
        radius_arcsec=_RADIUS_ARCSEC,
        out=out,
        scheduler=scheduler or "synchronous",
    )


def _pairs_differ(first: Path, second: Path) -> float:
    columns = ["anchor_id", "target_id", "separation_arcsec", "ambiguous"]
    tables = [pq.read_table(path, columns=columns) for path in (first, second)]
    found = pa.concat_tables(tables).group_by(columns).aggregate([([], "count_all")])
    return int(pc.sum(pc.not_equal(found["count_all"], 2)).as_py() or 0)


def _prepare_features(folder: Path, n: int) -> None:
    write_features(folder, n, _DIMENSION)


def _index(folder: Path, out: Path, scheduler: str | None) -> None:
    from galaxy_da.cluster.index import create_on_workers
    from galaxy_da.index import create

    if scheduler is None:
        create(out, [folder / "features"], kind="ivfpq")
    else:
        create_on_workers(out, [folder / "features"], kind="ivfpq", scheduler=scheduler)


def _neighbours_differ(first: Path, second: Path) -> float:
    from galaxy_da.latent_index import LatentIndex

    queries = synthetic_latents(_QUERIES, _DIMENSION, seed=1)
    ours, theirs = (LatentIndex.open(path).search(queries, 10)[1] for path in (first, second))
    return int((ours != theirs).sum())


VERBS = {
    "extract": _Verb(_prepare_sample, _extract, _latents_differ, 200, (1_000, 10_000)),
    "index": _Verb(_prepare_features, _index, _neighbours_differ, 20_000, (100_000, 1_000_000)),
    "crossmatch": _Verb(_prepare_catalogs, _match, _pairs_differ, 10_000, (100_000, 1_000_000)),
}


def main() -> None:
    """Print the tables."""
    parser = command_parser("distributed", __doc__)
    parser.add_argument("--verbs", nargs="+", choices=tuple(VERBS), default=list(VERBS))
    parser.add_argument("--sizes", nargs="+", type=lambda text: int(float(text)))
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2, 4])
    given = parser.parse_args()
    for verb in given.verbs:
        for n in given.sizes or VERBS[verb].sizes:
            print_rows(_TITLE, list(distributed_rows(verb, n, given.workers)))


if __name__ == "__main__":
    main()
