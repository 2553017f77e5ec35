"""Where Dask tasks run: in this process, on a cluster of this machine, or on a scheduler."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from galaxy_da.errors import CatalogError

if TYPE_CHECKING:
    from dask.delayed import Delayed
    from dask.distributed import Client

__all__ = ["running"]

_TASKS_AHEAD = 4  # per thread: what is computed but not yet taken stays small
_TIMEOUT_S = 20


@contextmanager
def running(scheduler: str | None) -> Iterator[Callable[[Iterable[Delayed]], Iterator[Any]]]:
    """Yield a function that computes tasks and gives their results in order.

    A few tasks are computed ahead of the result that is taken, so that neither all tasks nor all
    results are held at once. A task that a lost worker had is computed again.

    Parameters
    ----------
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``; or ``threads`` or ``synchronous``,
        in this process. By default a cluster of processes on this machine, for as long as the
        block lasts.

    Raises
    ------
    CatalogError
        If no scheduler answers there.
    """
    if scheduler in ("threads", "synchronous"):
        yield lambda tasks: _batches(tasks, scheduler)
        return
    from dask.distributed import Client, LocalCluster

    with ExitStack() as stack:
        address = scheduler or stack.enter_context(
            LocalCluster(threads_per_worker=1, dashboard_address=":0")
        )
        try:
            client = stack.enter_context(Client(address, timeout=_TIMEOUT_S))
        except (OSError, ValueError) as error:
            raise CatalogError(
                f"{scheduler}: no Dask scheduler answers there ({error}); start one by "
                "`dask scheduler`, or leave it out to use this machine"
            ) from error
        yield lambda tasks: _futures(tasks, client)


def _batches(tasks: Iterable[Delayed], scheduler: str) -> Iterator[Any]:
    import dask

    waiting = iter(tasks)
    while batch := list(islice(waiting, _TASKS_AHEAD * (os.cpu_count() or 1))):
        yield from dask.compute(*batch, scheduler=scheduler)


def _futures(tasks: Iterable[Delayed], client: Client) -> Iterator[Any]:
    waiting = iter(tasks)
    ahead = _TASKS_AHEAD * max(sum(client.nthreads().values()), 1)
    futures = deque(client.compute(task) for task in islice(waiting, ahead))
    while futures:
        yield futures.popleft().result()
        futures.extend(client.compute(task) for task in islice(waiting, 1))
