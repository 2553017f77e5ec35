"""Latency of ordinary clients while hostile ones ask the worst questions there are.

``python -m benchmarks.hostile_clients [--vectors N] [--seconds S]`` serves an index of synthetic
latents. It times eight ordinary clients alone, and beside eight hostile ones that never pause. The
hostile clients run at a low priority, since they would be on other machines, each from an address
of its own.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from benchmarks.index import synthetic_latents
from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.io.features import Features
from galaxy_da.latent_index import LatentIndex
from galaxy_da.space import LatentSpace

_CLIENTS = 8
_PAUSE = 0.1
_LIMITS = "request_seconds = 10\n"
_SEED = 0

Asked = tuple[str, str, str, dict[str, str], bytes]
"""Kind of a request; method, URL, headers and body."""


def measure(n: int, seconds: float) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Time ordinary clients alone and beside hostile ones.

    Parameters
    ----------
    n : int
        Number of vectors in the index.
    seconds : float
        Length of each of the two measurements.

    Returns
    -------
    rows : list of dict
        By kind of request: p50 and p99 alone and beside hostile clients [ms], and the ratio of
        the latter.
    summary : dict
        Memory of the service and all its processes early and late [MiB], and the statuses that
        the hostile clients got.
    """
    with _served(n) as (port, pid):
        ordinary = _ordinary(port, n)
        _clients(ordinary, "127.0.1.", 5, _PAUSE)  # processes have started
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            alone, _ = pool.submit(_clients, ordinary, "127.0.1.", seconds, _PAUSE).result()
            attack = pool.submit(_clients, _hostile(port, n), "127.0.0.1", seconds, 0.0)
            memory: list[float] = []
            watcher = threading.Thread(target=_watch, args=(pid, seconds, memory))
            watcher.start()
            beside, refused = pool.submit(_clients, ordinary, "127.0.1.", seconds, _PAUSE).result()
            _, statuses = attack.result()
            watcher.join()
    rows = []
    for kind, values in alone.items():
        (p50, p99), (h50, h99) = (np.percentile(v, [50, 99]) * 1e3 for v in (values, beside[kind]))
        rows.append(
            {
                "request": kind,
                "p50_ms": p50,
                "p99_ms": p99,
                "p50_ms beside": h50,
                "p99_ms beside": h99,
                "ratio of p99": h99 / p99,
                "most_ms beside": 1e3 * max(beside[kind]),
            }
        )
    quarter = max(1, len(memory) // 4)
    summary = {
        "memory early [MiB]": float(np.median(memory[quarter : 2 * quarter] or memory)),
        "memory late [MiB]": float(np.median(memory[-quarter:])),
        "ordinary refused": sum(count for status, count in refused.items() if status != 200),
        "answers to the hostile": json.dumps(dict(sorted(statuses.items()))),
    }
    return rows, summary


def _clients(
    requests: Sequence[Asked], address: str, seconds: float, pause: float
) -> tuple[dict[str, list[float]], Counter[int]]:
    """Run clients from addresses of their own; return latencies by kind [s], and statuses."""
    if not pause:
        os.nice(10)
    return asyncio.run(_run(requests, address, seconds, pause))


async def _run(
    requests: Sequence[Asked], address: str, seconds: float, pause: float
) -> tuple[dict[str, list[float]], Counter[int]]:
    latencies: dict[str, list[float]] = {kind: [] for kind, *_ in requests}
    statuses: Counter[int] = Counter()
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        dice = random.Random(number)
        transport = httpx.AsyncHTTPTransport(local_address=f"{address}{number + 10}")
        async with httpx.AsyncClient(transport=transport, timeout=60) as http:
            while time.perf_counter() < end:
                kind, method, url, headers, body = dice.choice(requests)
                start = time.perf_counter()
                try:
                    answer = await http.request(method, url, headers=headers, content=body)
                    statuses[answer.status_code] += 1
                except (httpx.HTTPError, httpx.StreamError, OSError):  # it closed the connection
                    statuses[0] += 1
                latencies[kind].append(time.perf_counter() - start)
                await asyncio.sleep(pause * dice.uniform(0.5, 1.5))

    await asyncio.gather(*(client(number) for number in range(_CLIENTS)))
    return latencies, statuses


def _ordinary(port: int, n: int) -> list[Asked]:
    """Return what the page and scripts ask most."""
    dice, url = random.Random(_SEED), f"http://127.0.0.1:{port}"
    asked: list[Asked] = []
    for _ in range(50):
        key = {"id": f"decals:{dice.randrange(n):09d}"}
        where = {**key, "where": "dec > 10"}
        asked += [
            _asked("/healthz", httpx.Request("GET", f"{url}/healthz")),
            _asked("similar by id", httpx.Request("GET", f"{url}/api/similar", params=key)),
            _asked("similar where", httpx.Request("GET", f"{url}/api/similar", params=where)),
            _asked("object", httpx.Request("GET", f"{url}/api/objects", params=key)),
            _asked(
                "picture",
                httpx.Request("GET", f"{url}/api/images/reconstruction.png", params=key),
            ),
        ]
    return asked


def _hostile(port: int, n: int) -> list[Asked]:
    """Return the worst questions: slow, large, or broken."""
    base = f"http://127.0.0.1:{port}"
    keys = [f"decals:{row:09d}" for row in range(min(n, 10_000))]
    queries: list[tuple[str, dict[str, Any]]] = [
        ("outliers", {"where": [" " * 1024] * 11}),
        ("outliers", {"where": " not" * 256}),
        ("outliers", {"k": 1000}),
        ("outliers", {"method": "forest", "k": 10_000}),
        ("outliers", {"method": "knn", "neighbours": 1000}),
        ("duplicates", {"survey": "decals", "arcsec": 3600}),
        ("duplicates", {"survey": "decals", "distance": 1e9}),
        ("similar", {"id": keys[0], "k": 10_000, "format": "votable"}),
        ("similar", {"id": keys[0], "k": 100}),
        ("similar", {"id": "decals:" + "9" * 60}),
        ("similar", {"id": "decals:" + "x" * 1000}),
        ("similar", {"id": keys[:64], "dislike": keys[64:128], "k": 10_000}),
        ("map", {"limit": 1_000_000, "format": "json", "column": "ra"}),
        ("same", {"id": keys[0], "radius_arcsec": 3600}),
        ("objects/complete", {"prefix": "decals:0", "k": 100}),
    ]
    asked = [httpx.Request("GET", f"{base}/api/{path}", params=given) for path, given in queries]
    cone = {"RA": "0", "DEC": "0", "SR": "180", "VERB": "3"}
    asked.append(httpx.Request("GET", f"{base}/vo/conesearch", params=cone))
    bodies: list[tuple[str, Any]] = [
        ("rank", {"scores": [{"id": key, "score": 3} for key in keys]}),
        ("objects/table", {"ids": keys * 10, "format": "votable"}),
        ("similar", {"like": [[0.0] * 4000] * 50}),
        ("decode", {"latents": [[0.0] * 40] * 64}),
    ]
    asked += [httpx.Request("POST", f"{base}/api/{path}", json=body) for path, body in bodies]
    nested = b'{"like": ' + b"[" * 500_000
    kind = {"Content-Type": "application/json"}
    asked.append(httpx.Request("POST", f"{base}/api/similar", content=nested, headers=kind))
    for file in (_picture(2048, 2048), _picture(40_000, 40_000), _many_hdus(), b"\r" * (4 << 20)):
        form: dict[str, Any] = {"data": {"survey": "decals"}, "files": {"file": file}}
        asked.append(httpx.Request("POST", f"{base}/api/encode", **form))
    pairs = {"anchor": "decals", "target": "sdss"}
    bomb = httpx.Request("POST", f"{base}/api/distances", params=pairs, content=_expanding())
    asked.append(bomb)
    return [_asked("hostile", request) for request in asked]


def _asked(kind: str, request: httpx.Request) -> Asked:
    return kind, request.method, str(request.url), dict(request.headers), request.read()


def _picture(width: int, height: int) -> bytes:
    """Return a PNG of black pixels, cut off after four million bytes."""

    def chunk(body: bytes) -> bytes:
        return (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)

    head = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    data = b"IDAT" + zlib.compress(bytes(min((width * 3 + 1) * height, 4 << 20)))
    return b"\x89PNG\r\n\x1a\n" + chunk(head) + chunk(data) + chunk(b"IEND")


def _many_hdus() -> bytes:
    """Return a FITS file of a thousand small images."""
    out = io.BytesIO()
    images = [fits.ImageHDU(np.zeros((2, 2), np.float32)) for _ in range(1000)]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(out)
    return out.getvalue()


def _expanding() -> bytes:
    """Return a small Parquet file of gigabytes of text."""
    ids = pa.DictionaryArray.from_arrays(np.zeros(3_000_000, np.int32), ["x" * 1000])
    sink = pa.BufferOutputStream()
    table = pa.table({"anchor_id": ids, "target_id": ids})
    pq.write_table(table, sink, compression="zstd", row_group_size=len(ids))
    return bytes(sink.getvalue())


@contextmanager
def _served(n: int) -> Iterator[tuple[int, int]]:
    """Run the command `serve`; yield its port and process id."""
    space = LatentSpace.load("decals")
    latents = synthetic_latents(n, space.galaxy_latents)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(latents.ravel()), latents.shape[1])
    dec = np.degrees(np.arcsin(np.linspace(-1, 1, n)))
    table = pa.table(
        {
            "object_id": [f"{row:09d}" for row in range(n)],
            "survey": ["decals"] * n,
            "ra": np.arange(n) * 137.508 % 360,
            "dec": dec,
            "flags": np.zeros(n, np.int32),
            "reconstruction_error": np.ones(n, np.float32),
            "embedding": vectors,
            "nuisance": _nuisance(space, n),
        }
    )
    encoders = {"decals": space.encoder("decals").hash}
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        features = Features(table=table, space_id=space.id, encoders=encoders)
        LatentIndex.build([features]).save(f"{folder}/index")
        (Path(folder) / "limits.toml").write_text(_LIMITS)
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.close()
        command = [sys.executable, "-m", "galaxy_da", "serve", "--space", "decals"]
        command += ["--index", f"{folder}/index", "--limits", f"{folder}/limits.toml"]
        # In the session of the clients: Linux may schedule each session as one.
        service = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL)
        try:
            _wait(f"http://127.0.0.1:{port}/api/latents?id=decals:000000000")
            yield port, service.pid
        finally:
            service.terminate()
            service.wait()


def _nuisance(space: LatentSpace, n: int) -> pa.Array:
    width = space.architecture.latents - space.galaxy_latents
    return pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(n * width, np.float32)), width)


def _wait(url: str) -> None:
    while True:
        try:
            if httpx.get(url, timeout=60).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)


def _watch(pid: int, seconds: float, memory: list[float]) -> None:
    """Record the memory of a process and its descendants once a second [MiB]."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        memory.append(sum(map(_memory, _family(pid))))
        time.sleep(1)


def _family(pid: int) -> set[int]:
    """Return the process ids of a process and its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = int(fields[1])
    family, size = {pid}, 0
    while size < len(family):
        size = len(family)
        family |= {child for child, parent in parents.items() if parent in family}
    return family


def _memory(pid: int) -> float:
    """Return the proportional share of memory of a process [MiB]."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return int(text.partition("Pss:")[2].split()[0]) / 1024


def main() -> None:
    """Print the tables."""
    parser = command_parser("hostile_clients", __doc__)
    parser.add_argument("--vectors", type=int, default=100_000, help="size of the index")
    parser.add_argument("--seconds", type=float, default=600, help="length of each measurement [s]")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the service too
    rows, summary = measure(given.vectors, given.seconds)
    print_rows(f"Ordinary clients beside hostile ones, {given.vectors:,} vectors", rows)
    print_rows("Memory and answers", [summary])


if __name__ == "__main__":
    main()
