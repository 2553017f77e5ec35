"""Locks of an index folder: one writer at a time, and pins on the files of open indexes.

Both are advisory locks of the operating system, which are released when a process is killed.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxy_da.errors import LatentIndexError
from galaxy_da.io.files import ensure_folder

__all__ = ["Pin", "is_pinned", "only_writer", "remove_unpinned"]

_LOCK = ".writer"


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Lock an index folder for writing; LatentIndexError at once if another writer holds it."""
    ensure_folder(folder)
    handle = _open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
    try:
        if not _locked(handle, fcntl.LOCK_EX):
            raise LatentIndexError(
                f"{folder}: another process is writing to this index; wait for it to end and run "
                "this again"
            )
        yield
    finally:
        os.close(handle)


class Pin:
    """Lock that keeps a file until the lock is garbage-collected or its process ends."""

    def __init__(self, path: Path) -> None:
        handle = _open(path, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_SH)
        weakref.finalize(self, os.close, handle)


def is_pinned(path: Path) -> bool:
    """Return True if a reader has pinned a file."""
    handle = _open(path, os.O_RDWR)
    try:
        return not _locked(handle, fcntl.LOCK_EX)
    finally:
        os.close(handle)


def remove_unpinned(paths: list[Path]) -> None:
    """Remove files that no reader has pinned; only the writer of their folder may call this."""
    for path in paths:
        try:
            handle = _open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            if _locked(handle, fcntl.LOCK_EX):
                path.unlink(missing_ok=True)
        finally:
            os.close(handle)


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o644)


def _locked(handle: int, how: int) -> bool:
    """Try to lock an open file without waiting; return True if it worked."""
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
