"""Program that opens the holdings once and forks a process for each worker of the service.

`main` reads a pickled `Recipe` from its input. Each message on its socket is a niceness and one end
of a connection, for a new process that answers questions on it. A question states its time limit:
at its end the system's timer kills the process, whatever code it runs. All processes end when the
service does.
"""

from __future__ import annotations

import importlib
import os
import pickle
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from galaxy_da.errors import GalaxyDAError
from galaxy_da.service.limits import is_out_of_memory

BACKGROUND_NICE = 10
"""Niceness from which a worker leaves one core to the service."""


@dataclass(frozen=True)
class Question:
    """A function of a module, by name, its arguments beside `service`, and its time limit [s]."""

    module: str
    function: str
    arguments: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Fault:
    """An error that is no GalaxyDAError, as text for the log."""

    text: str


def main(handle: int) -> None:
    """Open the holdings, and fork workers until the other end of a socket is closed."""
    from galaxy_da.service.holdings import Holdings, Recipe

    recipe: Recipe = pickle.load(sys.stdin.buffer)
    importlib.import_module("galaxy_da.service.app")  # all routes, before the first fork
    held: Holdings = recipe.open()
    control = socket.socket(fileno=handle)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system forgets processes that end
    while True:
        message, handles, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return  # the service ended
        if os.fork() == 0:
            control.close()
            _work(Connection(handles[0]), held, message[0])
        os.close(handles[0])


def _work(line: Connection, service: Any, nice: int) -> NoReturn:
    """Answer the questions of one connection until it is closed."""
    import faiss
    import torch

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.nice(nice)
    if nice >= BACKGROUND_NICE:
        _leave_a_core()
    limits = service.limits
    resource.setrlimit(resource.RLIMIT_DATA, (limits.question_memory_bytes,) * 2)
    processes = limits.quick_processes + limits.slow_processes
    threads = max(1, (os.cpu_count() or 1) // processes)
    faiss.omp_set_num_threads(threads)
    torch.set_num_threads(threads)
    try:
        while True:
            question = line.recv()
            answer = None
            if question is not None:
                signal.setitimer(signal.ITIMER_REAL, question.seconds)  # kills this process
                answer = _answer(question, service)
                signal.setitimer(signal.ITIMER_REAL, 0)
            line.send(answer)
            if isinstance(answer, MemoryError):
                break  # a new process starts with free memory
    except (EOFError, OSError):
        pass
    finally:
        os._exit(0)  # skips handlers of the process that was forked


def _leave_a_core() -> None:
    """Keep the process off one core, so that the service itself need not wait for one."""
    if hasattr(os, "sched_setaffinity"):  # Linux
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores - {min(cores)} or cores)


def _answer(question: Question, service: Any) -> Any:
    """Return the result of a question, or its error in place of it."""
    function = getattr(importlib.import_module(question.module), question.function)
    function = getattr(function, "__wrapped__", function)
    try:
        return function(service=service, **question.arguments)
    except GalaxyDAError as error:
        return error
    except OSError as error:
        return error
    except Exception as error:  # a fault of the service, for its log
        if is_out_of_memory(error):
            return MemoryError()
        return Fault(traceback.format_exc())
