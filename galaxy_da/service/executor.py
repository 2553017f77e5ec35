"""Batches computed in a thread beside the event loop, with a bounded queue and a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from galaxy_da.service.errors import RequestError

R = TypeVar("R")
T = TypeVar("T")

_RETRY = {"Retry-After": "1"}


@dataclass(eq=False)
class Batcher(Generic[T, R]):
    """One thread that computes requests in batches, each of one group.

    Requests that arrive during a batch form the next ones; a single request is computed at once if
    the thread is free. `compute` turns a list of items into results, in order; an exception in
    place of a result is raised for that item alone. `timeout_s` bounds the time from request to
    result.
    """

    compute: Callable[[Sequence[T]], Sequence[R | Exception]]
    batch_size: int
    max_waiting: int
    timeout_s: float
    group_of: Callable[[T], Hashable] = lambda item: None
    observe: Callable[[float], object] = lambda size: None

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def run(self, item: T) -> R:
        """Compute one item with others; RequestError 503 if too many wait, 504 if it is late."""
        if len(self._waiting) >= self.max_waiting:
            raise busy()
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await _in_time(future, self.timeout_s)

    def close(self) -> None:
        """Let the current batch end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            self.observe(len(batch))
            items = [item for item, _ in batch]
            results: Sequence[R | Exception]
            try:
                results = await loop.run_in_executor(self._pool, self.compute, items)
            except Exception as error:  # answers every request of the batch
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _next_batch(self) -> list[tuple[T, asyncio.Future[R]]]:
        """Take the oldest request and others of its group; forget those whose client left."""
        batch: list[tuple[T, asyncio.Future[R]]] = []
        rest: list[tuple[T, asyncio.Future[R]]] = []
        group = None
        for item, future in self._waiting:
            if future.done():
                continue
            group = group if batch else self.group_of(item)
            fits = len(batch) < self.batch_size and self.group_of(item) == group
            (batch if fits else rest).append((item, future))
        self._waiting = rest
        return batch


def busy() -> RequestError:
    """Return the error of a request that cannot wait."""
    return RequestError(503, "too many requests are waiting; try again", _RETRY)


async def _in_time(future: asyncio.Future[R], seconds: float) -> R:
    try:
        return await asyncio.wait_for(future, seconds)
    except TimeoutError:
        raise too_late(seconds) from None


def too_late(seconds: float) -> RequestError:
    """Return the error of a request that reached its time limit."""
    return RequestError(504, f"took longer than {seconds:g} s; ask for less", _RETRY)
