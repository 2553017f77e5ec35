"""Work in threads, a few items ahead of whoever takes the results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["parallel_map"]

T = TypeVar("T")
U = TypeVar("U")


def parallel_map(
    function: Callable[[T], U],
    items: Iterable[T],
    *,
    threads: int,
    prefetch: int,
    prepare: Callable[[], object] | None = None,
) -> Iterator[U]:
    """Yield the results of a function in the order of its items.

    Parameters
    ----------
    function : callable
        Called once with each item, in one of the threads.
    items : iterable
        Taken in the thread of the caller.
    threads : int
        How many.
    ahead : int
        Most items begun whose results are not taken yet.
    prepare : callable, optional
        Called once in each thread before its first item.
    """
    waiting_items = iter(items)
    with ThreadPoolExecutor(threads, initializer=prepare) as pool:
        begun = deque(pool.submit(function, item) for item in islice(waiting_items, prefetch))
        while begun:
            first = begun.popleft()
            begun.extend(pool.submit(function, item) for item in islice(waiting_items, 1))
            yield first.result()
