"""Run Dask tasks in this process, on worker processes of this machine, or on a scheduler."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from uuid import uuid4

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from galaxy_da.errors import ClusterError, StorageError
from galaxy_da.io.storage import Location, PathOrUrl, location

if TYPE_CHECKING:
    from dask.delayed import Delayed
    from dask.distributed import Client, LocalCluster

IN_PROCESS = ("threads", "synchronous")
"""Schedulers that compute in this process."""

_SHARED_TRIES = 6
_TASKS_PREFETCHED = 4  # per thread; bounds the results that wait to be taken
_TIMEOUT_S = 20
_KEPT_BYTES = 1 << 30
_WORKERS_CONFIG = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": _KEPT_BYTES,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": _KEPT_BYTES,
    "distributed.worker.profile.enabled": False,
}
_GPU = "GPU"

T = TypeVar("T")


class Shared(Generic[T]):
    """A value that tasks have in common, sent to each worker once.

    Workers that join later, or replace lost ones, get it before their first task.
    """

    def __init__(self, value: T) -> None:
        self.name = f"galaxy_da-{uuid4().hex}"
        self._here = [value]

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "_here": []}

    def get(self) -> T:
        """Return the value, in the process that shared it or in a task."""
        if self._here:
            return self._here[0]
        from dask.distributed import get_worker

        value: T = get_worker().plugins[self.name].value
        return value


def worker_location(where: PathOrUrl, scheduler: str | None) -> Location:
    """Return a location that workers can open: an absolute path, or a URL."""
    place = location(where)
    if isinstance(place, Path):
        return place.absolute()
    if place.protocol == "memory" and scheduler not in IN_PROCESS:
        raise StorageError(
            f"{where}: is in the memory of this process, where workers do not see it; give a path "
            "or a URL that all workers see, or engine local"
        )
    return place


class Runner(Protocol):
    """Computes tasks."""

    def share(self, value: T) -> Shared[T]:
        """Send a value to all workers, including later ones."""

    def in_order(self, tasks: Iterable[Delayed]) -> Iterator[Any]:
        """Yield results in the order of their tasks, with a few tasks prefetched."""

    def as_done(self, tasks: Iterable[Delayed]) -> Iterator[Any]:
        """Yield results as they come.

        Tasks that end every worker are reported after all others. If workers declare the resource
        ``GPU``, only those get tasks.
        """


@contextmanager
def running(scheduler: str | None) -> Iterator[Runner]:
    """Yield a runner of tasks; the tasks of lost workers are computed again.

    `scheduler` is the address of a Dask scheduler, such as ``tcp://host:8786``, or ``threads`` or
    ``synchronous``, in this process. By default a cluster of processes runs on this machine for as
    long as the block lasts. Raises ClusterError if no scheduler answers there, it is lost, or a
    task ends every worker that takes it.
    """
    if scheduler in IN_PROCESS:
        yield _Here(scheduler)
        return
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise ClusterError("needs dask; install it with `pip install 'galaxy_da[hats]'`") from error
    with ExitStack() as stack:
        address = scheduler or stack.enter_context(workers_here()).scheduler_address
        try:
            client = stack.enter_context(Client(address, timeout=_TIMEOUT_S))
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"{scheduler}: no Dask scheduler answers there ({error}); start one by "
                "`dask scheduler`, or leave it out to use this machine"
            ) from error
        yield _Cluster(client, stack)


@contextmanager
def workers_here(n_workers: int | None = None) -> Iterator[LocalCluster]:
    """Yield worker processes of one thread on this machine, by default one for each core.

    These workers keep the memory they free. By default Dask workers return it to the system, and
    asking for it again for each tensor makes an encoder 1.5 times slower. Dask's profiler is off,
    which saves another 4%.
    """
    import dask
    from dask.distributed import LocalCluster

    with (
        dask.config.set(_WORKERS_CONFIG),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            memory_limit=0,  # mapped files count as memory and would end the workers
            silence_logs=logging.ERROR,
            dashboard_address=":0",
        ) as cluster,
    ):
        yield cluster


class _Here:
    """Runner in this process."""

    def __init__(self, scheduler: str) -> None:
        self._scheduler = scheduler

    def share(self, value: T) -> Shared[T]:
        return Shared(value)

    def in_order(self, tasks: Iterable[Delayed]) -> Iterator[Any]:
        import dask

        waiting = iter(tasks)
        while batch := list(islice(waiting, _TASKS_PREFETCHED * (os.cpu_count() or 1))):
            yield from dask.compute(*batch, scheduler=self._scheduler)

    as_done = in_order


class _Cluster:
    """Runner on the workers of a scheduler."""

    def __init__(self, client: Client, stack: ExitStack) -> None:
        self._client = client
        self._stack = stack

    def share(self, value: T) -> Shared[T]:
        from dask.distributed import WorkerPlugin

        shared, plugin = Shared(value), WorkerPlugin()
        plugin.value = value
        try:
            for attempt in Retrying(
                retry=retry_if_exception_type(OSError),  # a worker died on receiving it
                stop=stop_after_attempt(_SHARED_TRIES),
                wait=wait_exponential(0.2),
                reraise=True,
            ):
                with attempt:
                    self._client.register_plugin(plugin, name=shared.name)
        except OSError as error:
            raise _lost() from error
        self._stack.callback(self._forget, shared.name)
        return shared

    def _forget(self, name: str) -> None:
        with suppress(OSError, ValueError, TimeoutError, CancelledError):
            self._client.unregister_worker_plugin(name)

    def in_order(self, tasks: Iterable[Delayed]) -> Iterator[Any]:
        from dask.distributed import KilledWorker
        from distributed.comm import CommClosedError

        waiting = iter(tasks)
        futures: deque[Any] = deque()
        try:
            while True:
                short = _TASKS_PREFETCHED * self._n_threads() - len(futures)
                futures.extend(self._client.compute(task) for task in islice(waiting, short))
                if not futures:
                    return
                yield futures.popleft().result()
        except KilledWorker as error:
            raise _deadly(1, error) from error
        except (CancelledError, CommClosedError) as error:
            raise _lost() from error

    def as_done(self, tasks: Iterable[Delayed]) -> Iterator[Any]:
        from dask.distributed import KilledWorker, as_completed
        from distributed.comm import CommClosedError

        waiting, in_flight = iter(tasks), 0
        futures, resources = as_completed(), self._resources()
        killed: list[KilledWorker] = []
        try:
            while True:
                short = _TASKS_PREFETCHED * self._n_threads() - in_flight
                for task in islice(waiting, max(short, 0)):
                    futures.add(self._client.compute(task, resources=resources))
                    in_flight += 1
                if not in_flight:
                    break
                future = next(futures)
                in_flight -= 1
                try:
                    yield future.result()
                except KilledWorker as error:
                    killed.append(error)
                future.release()
        except (CancelledError, CommClosedError) as error:
            raise _lost() from error
        if killed:
            raise _deadly(len(killed), killed[0])

    def _n_threads(self) -> int:
        threads: dict[str, int] = self._client.nthreads()
        return max(sum(threads.values()), 1)

    def _resources(self) -> dict[str, int] | None:
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        has_gpu = any(worker["resources"].get(_GPU) for worker in workers)
        return {_GPU: 1} if has_gpu else None


def _deadly(count: int, error: Exception) -> ClusterError:
    return ClusterError(
        f"{count} tasks ended every worker that took them ({str(error).splitlines()[0]}); what is "
        "finished stays; give workers more memory, or look at their logs, and run the same command "
        "again"
    )


def _lost() -> ClusterError:
    return ClusterError(
        "the Dask scheduler was lost; what is finished stays, run the same command again to go on"
    )
