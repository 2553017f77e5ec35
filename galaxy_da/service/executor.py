"""Work off the event loop: in a few threads, many requests in one batch, never without bound."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import Any, Generic, ParamSpec, TypeVar

from galaxy_da.service.errors import RequestError

__all__ = ["Batcher", "Workers", "worked"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_RETRY = {"Retry-After": "1"}


class Workers:
    """A few threads, a bounded number of calls that wait for them, and a time limit.

    Parameters
    ----------
    threads : int
        Calls at once.
    waiting : int
        Most that wait beside them; more are refused with status 503.
    seconds : float
        Longest that a client waits [s], then status 504. The call itself goes on, and keeps its
        thread until it ends.
    """

    def __init__(self, threads: int, waiting: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="worker")
        self._most = threads + waiting
        self._seconds = seconds
        self._pending = 0

    async def run(self, call: Callable[[], R]) -> R:
        """Run a call in a thread.

        Raises
        ------
        RequestError
            If too many wait, or it takes too long.
        """
        if self._pending >= self._most:
            raise RequestError(503, "too many requests are waiting; try again", _RETRY)
        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        future.add_done_callback(self._ended)
        return await _in_time(asyncio.shield(future), self._seconds)

    def close(self) -> None:
        """Let running calls end and drop those that wait."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, future: asyncio.Future[Any]) -> None:
        self._pending -= 1
        if not future.cancelled():
            future.exception()  # seen, should nobody wait for it any more


class Batcher(Generic[T, R]):
    """Gathers the requests that come while a batch is being computed into the next batch.

    Nobody waits for company: a request that finds the thread free is computed at once.

    Parameters
    ----------
    compute : callable
        Items to results, in order; an exception in place of a result is raised to its asker alone.
    most : int
        Items in a batch.
    waiting : int
        Most items that wait; more are refused with status 503.
    seconds : float
        Longest that a client waits [s], then status 504.
    observe : callable, optional
        Told the size of each batch.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        most: int,
        waiting: int,
        seconds: float,
        observe: Callable[[float], object] | None = None,
    ) -> None:
        self._compute = compute
        self._most = most
        self._waiting = waiting
        self._seconds = seconds
        self._observe = observe
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._queue: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def ask(self, item: T) -> R:
        """Have an item computed, with whatever others come.

        Raises
        ------
        RequestError
            If too many wait, or it takes too long.
        """
        if len(self._queue) >= self._waiting:
            raise RequestError(503, "too many requests are waiting; try again", _RETRY)
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await _in_time(future, self._seconds)

    def close(self) -> None:
        """Let the batch that is being computed end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
            batch = [(item, future) for item, future in batch if not future.done()]
            if not batch:
                continue
            if self._observe is not None:
                self._observe(len(batch))
            results: Sequence[R | Exception]
            try:
                items = [item for item, _ in batch]
                results = await loop.run_in_executor(self._pool, self._compute, items)
            except Exception as error:  # it is each asker's answer
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)


def worked(function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make a route that computes run in the service's `Workers`."""

    @wraps(function)
    async def route(*args: P.args, **kwargs: P.kwargs) -> R:
        service: Any = kwargs["service"]
        workers: Workers = service.workers
        return await workers.run(partial(function, *args, **kwargs))

    return route


async def _in_time(future: asyncio.Future[R], seconds: float) -> R:
    try:
        return await asyncio.wait_for(future, seconds)
    except TimeoutError:
        raise RequestError(504, f"took longer than {seconds:g} s; ask for less", _RETRY) from None
