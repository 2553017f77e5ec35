"""Map a function over items in threads, with results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def parallel_map(
    function: Callable[[T], U],
    items: Iterable[T],
    *,
    threads: int,
    prefetch: int,
    initializer: Callable[[], object] | None = None,
) -> Iterator[U]:
    """Yield the results of a function in the order of its items.

    The function runs in `threads` threads, at most `prefetch` items ahead of the consumer; items
    are read in the caller's thread. `initializer` runs once in each thread.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(threads, initializer=initializer) as pool:
        started = deque(pool.submit(function, item) for item in islice(remaining, prefetch))
        while started:
            first = started.popleft()
            started.extend(pool.submit(function, item) for item in islice(remaining, 1))
            yield first.result()
