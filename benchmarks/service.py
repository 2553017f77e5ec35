"""Compare the service with raw FAISS and the bare encoder, in one process.

``python -m benchmarks.service [VECTORS ...] [--seconds S] [--repeats N]`` prints the tables. The
clients run in another process, on the same cores.
"""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import faiss
import httpx
import numpy as np
import uvicorn
from astropy.io import fits

from benchmarks.index import synthetic_latents
from benchmarks.support.commands import command_parser
from benchmarks.support.features import synthetic_table
from benchmarks.support.service_clients import Load, run_load
from benchmarks.support.tables import print_rows
from galaxy_da.images.cutouts import Cutout
from galaxy_da.io.features import Features
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service import create_app
from galaxy_da.service.limits import Limits
from galaxy_da.service.parts import ServiceOptions
from galaxy_da.service.run import UVICORN_OPTIONS
from galaxy_da.space import LatentSpace

_CLIENTS = 16
_K = 10
_SIDE_PX = 128
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Seconds of each measurement (FAISS or encoder alone: half as long), and number of repeats."""

    seconds: float = 4.0
    repeats: int = 3


def similar_rows(n: int = 100_000, turns: Turns = Turns(), loads: int = 3) -> list[dict[str, Any]]:
    """Time similar-by-id over HTTP beside FAISS alone in the same number of threads.

    Parameters
    ----------
    n : int
        Number of vectors in the index.
    turns : Turns
        Length and number of the measurements.
    loads : int
        Number of loads; the first is 16 clients alone.

    Returns
    -------
    list of dict
        By load: answers per second, latencies, processor time of this process per answer, and
        ``ratio``, the throughput over that of FAISS; medians of alternating repeats.
    """
    space = LatentSpace.load("decals")
    index = _index(space, n)
    rng = np.random.default_rng(_SEED)
    queries = [f"id={index.key(row)}&k={_K}" for row in rng.integers(n, size=500)]
    requests = [_get(f"/api/similar?{query}") for query in queries]
    raw = faiss.IndexFlatL2(index.dimension)
    raw.add(index.vectors[:])
    kinds: dict[str, dict[str, Any]] = {
        f"{_CLIENTS} clients": {"clients": _CLIENTS},
        f"{_CLIENTS} clients, 200 slow ones beside": {"clients": _CLIENTS, "slow": 200},
        "bursts of 200 connections": {"clients": 200, "burst": True},
    }
    with _served(create_app(space, index)) as port:
        rows = []
        for name, kind in list(kinds.items())[:loads]:
            load = Load(port=port, requests=requests, seconds=turns.seconds, **kind)
            rows.append({"load": name, **_in_turn(lambda: _faiss(raw, index, turns), load, turns)})
    return rows


def image_rows(batches: Sequence[int] = (1, 64), turns: Turns = Turns()) -> list[dict[str, Any]]:
    """Time encoding images over HTTP beside the bare encoder on batches of 16.

    Parameters
    ----------
    batches : sequence of int
        Largest batches that the service encodes.
    turns : Turns
        Length and number of the measurements.

    Returns
    -------
    list of dict
        As `similar_rows`, with ``ratio`` over the bare encoder on prepared images.
    """
    space = LatentSpace.load("decals")
    index = _index(space, 1000)
    rng = np.random.default_rng(_SEED)
    pixels = rng.normal(0, 0.01, (3, _SIDE_PX, _SIDE_PX)).astype(np.float32)
    pixels[:, 54:74, 54:74] += 1
    encoder = space.encoder("decals")
    cutout = Cutout(
        pixels=pixels, bands=("g", "r", "z"), pixel_scale_arcsec=0.262, centre_xy=(63.5, 63.5)
    )
    inputs = encoder.prepare([cutout] * _CLIENTS, space.frame).inputs
    request = _post("/api/encode", {"survey": "decals"}, _fits(pixels))

    def encode() -> object:
        return space.encode(inputs, encoder)

    rows = []
    for batch in batches:
        options = ServiceOptions(limits=Limits(batch_size=batch))
        with _served(create_app(space, index, options)) as port:
            for clients in (1, _CLIENTS):
                load = Load(port=port, requests=[request], clients=clients, seconds=turns.seconds)
                both = _in_turn(lambda: _timed(encode, _CLIENTS, turns), load, turns)
                rows.append({"batches of": batch, "clients": clients, **both})
    return rows


@dataclass(frozen=True)
class _Bare:
    """Rate without the service [1/s], and processor time of each answer [ms]."""

    per_s: float
    cpu_ms: float


def _in_turn(bare: Callable[[], _Bare], load: Load, turns: Turns) -> dict[str, float]:
    """Time both sides alternately; return medians."""
    rows = []
    for _ in range(turns.repeats):
        reference = bare()
        start = time.process_time()
        served = run_load(load)
        cpu_ms = 1e3 * (time.process_time() - start) / max(served.answers, 1)
        rows.append(
            {
                "bare_per_s": reference.per_s,
                "service_per_s": served.per_s,
                "ratio": served.per_s / reference.per_s,
                "p50_ms": served.p50_ms,
                "p99_ms": served.p99_ms,
                "refused": served.refused,
                "bare_cpu_ms": reference.cpu_ms,
                "service_cpu_ms": cpu_ms,
            }
        )
    return {name: float(np.median([row[name] for row in rows])) for name in rows[0]}


def _index(space: LatentSpace, n: int) -> LatentIndex:
    """Index synthetic latents in the name of a space."""
    latents = synthetic_latents(n, space.galaxy_latents)
    table = synthetic_table(latents, digits=9)
    encoders = {"decals": space.encoder("decals").hash}
    return LatentIndex.build([Features(table=table, space_id=space.id, encoders=encoders)])


def _faiss(raw: faiss.Index, index: LatentIndex, turns: Turns) -> _Bare:
    """Time searches for single vectors, in one thread for each client.

    Each search has one OpenMP thread, which is FAISS at its best: those that wait would spin.
    """
    rows = np.random.default_rng(_SEED).integers(len(index), size=512)
    points = index.vectors[rows]
    with ThreadPoolExecutor(_CLIENTS, "faiss", faiss.omp_set_num_threads, (1,)) as pool:
        return _timed(
            lambda: list(pool.map(lambda point: raw.search(point[None], _K), points)),
            len(rows),
            turns,
        )


def _timed(work: Callable[[], object], each: int, turns: Turns) -> _Bare:
    """Time repeated work that handles a number of items."""
    work()
    start, cpu, times = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < turns.seconds / 2:
        work()
        times += each
    seconds, busy = time.perf_counter() - start, time.process_time() - cpu
    return _Bare(times / seconds, 1e3 * busy / times)


@contextmanager
def _served(app: Any) -> Iterator[int]:
    """Serve an app in a thread; yield its port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, **UVICORN_OPTIONS))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def _get(path: str) -> str:
    return _encoded(httpx.Request("GET", f"http://127.0.0.1{path}"))


def _post(path: str, fields: dict[str, str], file: bytes) -> str:
    request = httpx.Request("POST", f"http://127.0.0.1{path}", data=fields, files={"file": file})
    request.read()
    return _encoded(request)


def _encoded(request: httpx.Request) -> str:
    head = b"%s %s HTTP/1.1\r\n" % (request.method.encode(), request.url.raw_path)
    head += b"".join(b"%s: %s\r\n" % (name, value) for name, value in request.headers.raw)
    return base64.b64encode(head + b"\r\n" + request.content).decode()


def _fits(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    fits.PrimaryHDU(pixels, fits.Header({"BANDS": "g,r,z"})).writeto(out)
    return out.getvalue()


def main() -> None:
    """Print the tables."""
    parser = command_parser("service", __doc__)
    parser.add_argument("vectors", nargs="*", type=int, default=[100_000], help="index sizes")
    parser.add_argument(
        "--seconds", type=float, default=Turns.seconds, help="length of each measurement [s]"
    )
    parser.add_argument("--repeats", type=int, default=Turns.repeats, help="number of measurements")
    given = parser.parse_args()
    turns = Turns(seconds=given.seconds, repeats=given.repeats)
    for n in given.vectors:
        print_rows(f"Similar by id, {n:,} vectors, over HTTP", similar_rows(n, turns))
    print_rows("Encoding an image over HTTP [images/s]", image_rows(turns=turns))


if __name__ == "__main__":
    main()
