"""Pins: locks on the files of open indexes, which are released when a process is killed."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path


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
