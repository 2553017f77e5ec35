"""Run HTTP clients of the service in another process, with little overhead.

As a script it reads a `Load` as JSON from stdin and prints a `ClientStats` as JSON.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

import numpy as np

_SLOW_PAUSE = 0.5
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Load:
    """Load by clients that send a new request after each answer.

    Attributes
    ----------
    requests : sequence of str
        Complete HTTP requests in base64; clients choose among them at random.
    clients : int
        Number of persistent connections.
    seconds : float
        Duration.
    slow : int
        Number of further connections that send one byte of a request every half second.
    burst : bool
        Open a new connection for each request, all clients at once, then pause.
    """

    port: int
    requests: Sequence[str]
    clients: int
    seconds: float
    slow: int = 0
    burst: bool = False


@dataclass(frozen=True, kw_only=True)
class ClientStats:
    """Answers, answers per second, latencies [ms], and number of refused requests."""

    answers: int
    per_s: float
    p50_ms: float
    p99_ms: float
    refused: int


def run_load(load: Load) -> ClientStats:
    """Run clients in another process."""
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        check=True,
    )
    return ClientStats(**json.loads(done.stdout))


async def _main(load: Load) -> ClientStats:
    requests = [base64.b64decode(text) for text in load.requests]
    latencies: list[float] = []
    refused = count()
    end = time.perf_counter() + load.seconds

    async def steady(seed: int) -> None:
        dice = random.Random(seed)
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
        while time.perf_counter() < end:
            start = time.perf_counter()
            if await _request(reader, writer, dice.choice(requests)) != 200:
                next(refused)
            latencies.append(time.perf_counter() - start)
        writer.close()

    async def one(request: bytes) -> None:
        start = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", load.port)
        if await _request(reader, writer, request) != 200:
            next(refused)
        latencies.append(time.perf_counter() - start)
        writer.close()

    async def bursts() -> None:
        dice = random.Random(_SEED)
        while time.perf_counter() < end:
            await asyncio.gather(*(one(dice.choice(requests)) for _ in range(load.clients)))
            await asyncio.sleep(0.1)

    slow = [asyncio.create_task(_slow(load.port, requests[0])) for _ in range(load.slow)]
    start = time.perf_counter()
    if load.burst:
        await bursts()
    else:
        await asyncio.gather(*(steady(number) for number in range(load.clients)))
    seconds = time.perf_counter() - start
    for task in slow:
        task.cancel()
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    return ClientStats(
        answers=len(latencies),
        per_s=len(latencies) / seconds,
        p50_ms=float(p50),
        p99_ms=float(p99),
        refused=next(refused),
    )


async def _request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> int:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
    return status


async def _slow(port: int, request: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    for byte in request:
        writer.write(bytes([byte]))
        await asyncio.sleep(_SLOW_PAUSE)


if __name__ == "__main__":
    given: dict[str, Any] = json.load(sys.stdin)
    print(json.dumps(asdict(asyncio.run(_main(Load(**given))))))
