"""Start and end of a group of training processes, with one error message for all.

If one process fails, the others fail too, or ``torchrun`` ends them. Only the first to fail reports
the error.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist
from torch.distributed import TCPStore, is_torchelastic_launched  # type: ignore[attr-defined]

from galaxy_da.cli import REPORTED
from galaxy_da.errors import StorageError
from galaxy_da.io.storage import PathOrUrl, location
from training.parallel.fabric import make_fabric
from training.parallel.processes import everyones, is_first, wait

_FAILURES = "galaxy-da failures"
_TO_ANSWER = timedelta(seconds=10)


@contextmanager
def process_group(devices: int = 1) -> Iterator[bool]:
    """Run a block of a command in every process of a training.

    Yields True in the first process, which writes and prints. If another process failed before,
    `SystemExit` replaces the error. A request to terminate, which ``torchrun`` sends when it is
    interrupted, counts as `KeyboardInterrupt`.
    """
    if devices == 1 and not is_torchelastic_launched():
        yield True
        return
    make_fabric(devices)
    if not dist.is_initialized():  # torchrun started one process
        yield True
        return
    store = _connect()
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield is_first()
        wait()
    except BaseException:
        for number in (signal.SIGTERM, signal.SIGINT):  # torchrun signals whatever still runs
            signal.signal(number, signal.SIG_IGN)
        if not _fails_first(store):
            raise SystemExit(REPORTED) from None
        if not is_first():
            print(file=sys.stderr)  # ends the line of the first process's progress bar
        raise
    signal.signal(signal.SIGTERM, previous)
    dist.destroy_process_group()


def check_shared_folder(out: PathOrUrl) -> None:
    """Refuse a URL if several processes train: each would write a temporary folder of its own."""
    if len(everyones(None)) > 1 and not isinstance(location(out), Path):
        raise StorageError(
            f"{out}: several processes train in one folder that all of them see; give --out such a "
            "folder and copy it to the store afterwards"
        )


def _connect() -> TCPStore:
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(host, port, timeout=_TO_ANSWER)


def _fails_first(store: TCPStore) -> bool:
    """Return True unless another process failed before."""
    try:
        return store.add(_FAILURES, 1) == 1
    except (dist.DistError, RuntimeError):
        return False  # the process that holds the store is gone
