"""Processes that train together end together, and say so once.

What goes wrong in one process soon goes wrong in all: the others find it gone, or ``torchrun`` ends
them. The first to fail tells the user why; the others are silent.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import TCPStore, is_torchelastic_launched  # type: ignore[attr-defined]

from training.parallel.fabric import make_fabric
from training.parallel.processes import is_first, wait

__all__ = ["process_group"]

_FAILURES = "galaxy-da failures"
_TO_ANSWER = timedelta(seconds=10)


@contextmanager
def process_group(devices: int = 1) -> Iterator[bool]:
    """Run a block in every process of a training; for a command, which ends when the block fails.

    Parameters
    ----------
    devices : int
        As for `training.parallel.fabric.make_fabric`.

    Yields
    ------
    bool
        Whether this is the first process, which writes and prints.

    Raises
    ------
    SystemExit
        In place of what went wrong, if another process failed before. A request to terminate, as
        ``torchrun`` sends when it is interrupted, counts as `KeyboardInterrupt`.
    """
    if devices == 1 and not is_torchelastic_launched():
        yield True
        return
    make_fabric(devices)
    if not dist.is_initialized():  # torchrun started one process
        yield True
        return
    store = _meet()
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield is_first()
        wait()
    except BaseException:
        for number in (signal.SIGTERM, signal.SIGINT):  # torchrun asks who is still there to end
            signal.signal(number, signal.SIG_IGN)
        if not _fails_first(store):
            raise SystemExit(2) from None
        if not is_first():
            print(file=sys.stderr)  # where the first process's progress bar ends
        raise
    signal.signal(signal.SIGTERM, previous)
    dist.destroy_process_group()


def _meet() -> TCPStore:
    """Connect to the store through which the processes found each other."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(host, port, timeout=_TO_ANSWER)


def _fails_first(store: TCPStore) -> bool:
    """Say whether no other process failed before."""
    try:
        return store.add(_FAILURES, 1) == 1
    except (dist.DistError, RuntimeError):
        return False  # its keeper, the first process or torchrun, is gone
