"""Threads that compute off the event loop: bounded queues, time limits, and batches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import Any, Generic, ParamSpec, TypeVar

from galaxy_da.service.errors import RequestError

__all__ = ["Batcher", "Workers", "in_thread"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_RETRY = {"Retry-After": "1"}


class Workers:
    """A pool of threads with a bounded queue and a time limit.

    Parameters
    ----------
    threads : int
        Number of threads.
    max_waiting : int
        Calls that may wait for a thread; more are refused with status 503.
    timeout_s : float
        Longest time from call to result [s]; then status 504. The call goes on and keeps its
        thread until it ends.
    """

    def __init__(self, threads: int, max_waiting: int, timeout_s: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="worker")
        self._max_pending = threads + max_waiting
        self._timeout_s = timeout_s
        self._pending = 0

    async def run(self, call: Callable[[], R]) -> R:
        """Run a call in a thread.

        Raises
        ------
        RequestError
            With status 503 if too many calls wait, 504 if it takes too long.
        """
        if self._pending >= self._max_pending:
            raise _busy()
        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        future.add_done_callback(self._ended)
        return await _in_time(asyncio.shield(future), self._timeout_s)

    def close(self) -> None:
        """Drop the waiting calls; let running calls end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, future: asyncio.Future[Any]) -> None:
        self._pending -= 1
        if not future.cancelled():
            future.exception()  # mark it as retrieved, in case the client left


class Batcher(Generic[T, R]):
    """One thread that computes requests in batches.

    Requests that arrive during a batch form the next batch. No request waits for a batch to fill:
    if the thread is free, a single request is computed at once.

    Parameters
    ----------
    compute : callable
        Function of a list of items that returns a list of results, in order. An exception in place
        of a result is raised for that item alone.
    batch_size : int
        Largest number of items in a batch.
    max_waiting : int
        Items that may wait; more are refused with status 503.
    timeout_s : float
        Longest time from request to result [s]; then status 504.
    observe : callable, optional
        Function called with the size of each batch.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        batch_size: int,
        max_waiting: int,
        timeout_s: float,
        observe: Callable[[float], object] | None = None,
    ) -> None:
        self._compute = compute
        self._batch_size = batch_size
        self._max_waiting = max_waiting
        self._timeout_s = timeout_s
        self._observe = observe
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._queue: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def run(self, item: T) -> R:
        """Compute one item, together with others that wait.

        Raises
        ------
        RequestError
            With status 503 if too many items wait, 504 if it takes too long.
        """
        if len(self._queue) >= self._max_waiting:
            raise _busy()
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await _in_time(future, self._timeout_s)

    def close(self) -> None:
        """Let the current batch end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            size = min(self._batch_size, len(self._queue))
            batch = [self._queue.popleft() for _ in range(size)]
            batch = [(item, future) for item, future in batch if not future.done()]
            if not batch:
                continue
            if self._observe is not None:
                self._observe(len(batch))
            results: Sequence[R | Exception]
            try:
                items = [item for item, _ in batch]
                results = await loop.run_in_executor(self._pool, self._compute, items)
            except Exception as error:  # answers every request of the batch
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)


def in_thread(function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make a route run in the threads of the service's `Workers`."""

    @wraps(function)
    async def route(*args: P.args, **kwargs: P.kwargs) -> R:
        service: Any = kwargs["service"]
        workers: Workers = service.workers
        return await workers.run(partial(function, *args, **kwargs))

    return route


def _busy() -> RequestError:
    return RequestError(503, "too many requests are waiting; try again", _RETRY)


async def _in_time(future: asyncio.Future[R], seconds: float) -> R:
    try:
        return await asyncio.wait_for(future, seconds)
    except TimeoutError:
        raise RequestError(504, f"took longer than {seconds:g} s; ask for less", _RETRY) from None
