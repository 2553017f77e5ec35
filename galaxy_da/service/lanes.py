"""Lanes: questions of clients, answered by processes that are killed at the time limit.

A question runs in a process of its own, so that it cannot hold the interpreter's lock of the
service, use more memory than allowed, or go on after its client was refused. A lane has a number of
processes and serves the client first that has the fewest of them, or was served longest ago.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from galaxy_da.service.errors import RequestError
from galaxy_da.service.executor import busy, too_late
from galaxy_da.service.holdings import Holdings, Recipe
from galaxy_da.service.worker import Fault, Question

P = ParamSpec("P")
R = TypeVar("R")

CLIENT: ContextVar[str] = ContextVar("client", default="")
"""Address of the client whose request is being answered."""

_PROGRAM = "import sys; from galaxy_da.service.worker import main; main(int(sys.argv[1]))"
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables of libraries whose threads do not survive a fork."""

_GRACE_SECONDS = 1.0
_REMEMBERED = 10_000
_SHARE = 4
"""One client may fill this fraction of the places in a queue."""


class Forker:
    """Program that opens the holdings again and forks workers (`galaxy_da.service.worker`)."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._lock = Lock()
        self._control: socket.socket | None = None
        self._end: weakref.finalize[..., Any] | None = None

    def worker(self, nice: int) -> Connection:
        """Start a worker process; it answers as soon as the program has opened the holdings."""
        ours, theirs = socket.socketpair()
        with self._lock, theirs:
            for _ in range(2):
                try:
                    control = self._control or self._start()
                    socket.send_fds(control, [bytes([nice])], [theirs.fileno()])
                    break
                except OSError:  # the program was killed
                    self._stop()
        return Connection(ours.detach())

    def wait(self) -> None:
        """Return when a worker answers; EOFError if none can start."""
        with self.worker(0) as line:
            line.send(None)
            line.recv()

    def close(self) -> None:
        """End the program; its workers end with their connections."""
        with self._lock:
            self._stop()

    def _start(self) -> socket.socket:
        folder = tempfile.mkdtemp(prefix="galaxy-da-")
        recipe = _recipe(self._holdings, Path(folder))
        ours, theirs = socket.socketpair()
        with theirs:
            program = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,  # a new session would be scheduled as the service's equal
                env={**os.environ, **dict.fromkeys(_ONE_THREAD, "1")},
            )
        self._control = ours
        self._end = weakref.finalize(self, _end, program, ours, folder)
        assert program.stdin is not None
        with program.stdin:
            pickle.dump(recipe, program.stdin)
        return ours

    def _stop(self) -> None:
        if self._end is not None:
            self._end()
        self._control = self._end = None


class Crew:
    """Workers that answer questions of any thread, one each at a time.

    A worker whose process ended is replaced. `renew` replaces all of them, each when it is free.
    """

    def __init__(self, forker: Forker, nice: int) -> None:
        self._forker = forker
        self._nice = nice
        self._idle: list[Connection] = []

    def answer(self, question: Question) -> Any:
        """Return the answer, or raise its error.

        RequestError is 504 at the time limit, 413 without enough memory, and 503 if the process
        was killed.
        """
        deadline = time.monotonic() + question.seconds
        for last in (False, True):
            forker = self._forker
            try:
                line = self._idle.pop()
            except IndexError:
                line = forker.worker(self._nice)
            try:
                left = max(deadline - time.monotonic(), 0.001)
                line.send(replace(question, seconds=left))
                if not line.poll(left + _GRACE_SECONDS):
                    raise EOFError
                answer = line.recv()
            except (EOFError, OSError) as error:
                line.close()
                if time.monotonic() >= deadline:
                    raise too_late(question.seconds) from None
                if last:
                    raise RequestError(
                        503, "the process of this request ended; try again", {"Retry-After": "1"}
                    ) from error
                continue
            if forker is self._forker and not isinstance(answer, MemoryError):
                self._idle.append(line)
            else:
                line.close()
            break
        if isinstance(answer, MemoryError):
            raise RequestError(413, "needs more memory than a request may use; ask for less")
        if isinstance(answer, Fault):
            raise RuntimeError(answer.text)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def renew(self, forker: Forker) -> None:
        """Start further workers from another program; end the old ones when they are free."""
        self._forker = forker
        while self._idle:
            self._idle.pop().close()


@dataclass(eq=False)
class _Waiting:
    client: str
    question: Question
    deadline: float
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.Future())


class Lane:
    """Queue of questions for a crew of some processes, served fairly by client."""

    def __init__(self, crew: Crew, processes: int, max_waiting: int, seconds: float) -> None:
        self.crew = crew
        self._pool = ThreadPoolExecutor(processes, thread_name_prefix="lane")
        self._free = processes
        self._max_waiting = max_waiting
        self._seconds = seconds
        self._running: Counter[str] = Counter()
        self._served: dict[str, float] = {}
        self._queue: list[_Waiting] = []

    async def ask(self, module: str, function: str, **arguments: Any) -> Any:
        """Call a function with the holdings as `service`, in a process.

        RequestError is 503 if too many questions wait, and as of `Crew.answer`.
        """
        self._queue = [item for item in self._queue if not item.answer.done()]
        client = CLIENT.get()
        own = sum(item.client == client for item in self._queue)
        if len(self._queue) >= self._max_waiting or own * _SHARE >= self._max_waiting:
            raise busy()
        question = Question(module, function, arguments, self._seconds)
        item = _Waiting(client, question, time.monotonic() + self._seconds)
        self._queue.append(item)
        self._next()
        try:
            return await asyncio.wait_for(item.answer, self._seconds + 2 * _GRACE_SECONDS)
        except TimeoutError:
            raise too_late(self._seconds) from None

    def close(self) -> None:
        """Drop the waiting questions; let running ones end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> None:
        """Start the questions that wait for a free process."""
        while self._free and self._queue:
            item = min(self._queue, key=self._claim)
            self._queue.remove(item)
            left = item.deadline - time.monotonic()
            if item.answer.done():
                continue
            if left <= 0:
                item.answer.set_exception(too_late(self._seconds))
                continue
            self._free -= 1
            self._running[item.client] += 1
            if len(self._served) > _REMEMBERED:
                self._served.clear()
            self._served[item.client] = time.monotonic()
            work = asyncio.get_running_loop().run_in_executor(
                self._pool, self.crew.answer, replace(item.question, seconds=left)
            )
            work.add_done_callback(partial(self._ended, item))

    def _claim(self, item: _Waiting) -> tuple[int, float]:
        """Return what is smallest for the client to serve next."""
        return self._running[item.client], self._served.get(item.client, 0)

    def _ended(self, item: _Waiting, work: asyncio.Future[Any]) -> None:
        self._free += 1
        self._running[item.client] -= 1
        if not self._running[item.client]:
            del self._running[item.client]
        error = None if work.cancelled() else work.exception()
        if not item.answer.done():
            if work.cancelled():
                item.answer.set_exception(busy())
            elif error is not None:
                item.answer.set_exception(error)
            else:
                item.answer.set_result(work.result())
        self._next()


def quick(function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make a route run in the processes for questions of small, bounded cost."""
    return _routed(function, "quick")


def slow(function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make a route run in the processes for questions whose cost grows with the index."""
    return _routed(function, "slow")


def upload(function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Make a function that reads a client's file run in the processes for such files.

    A small file can take a parser of images long, so that no other question waits for it.
    """
    return _routed(function, "uploads")


def _routed(function: Callable[P, R], lane: str) -> Callable[P, Coroutine[Any, Any, R]]:
    @wraps(function)
    async def route(*args: P.args, **kwargs: P.kwargs) -> R:
        assert not args
        service: Any = kwargs.pop("service")
        chosen: Lane = getattr(service, lane)
        answer: R = await chosen.ask(function.__module__, function.__name__, **kwargs)
        return answer

    return route


def _recipe(holdings: Holdings, folder: Path) -> Recipe:
    """Describe holdings by files; what is in memory only is written to a folder."""
    holdings.space.save(folder / "space")
    index = holdings.index.folder
    if index is None:
        index = folder / "index"
        holdings.index.save(index)
    return Recipe(
        space=folder / "space",
        index=index,
        state=holdings.index.state,
        samples=() if holdings.cutouts is None else holdings.cutouts.paths,
        latent_map=holdings.latent_map,
        limits=holdings.limits,
    )


def _end(program: subprocess.Popen[bytes], control: socket.socket, folder: str) -> None:
    control.close()
    program.kill()
    program.wait()
    shutil.rmtree(folder, ignore_errors=True)
