"""Locks of the operating system on files, which are released when their process is killed."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxy_da.errors import StorageError

_LOCK = ".writer"
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""Errors of disks that have no locks, where two writers at once are not noticed."""


def try_lock(path: Path) -> int | None:
    """Open and lock a file; return None if it is locked already, even by this process."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    except (BlockingIOError, FileNotFoundError):  # held, or removed by its last holder
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Lock a folder for writing; StorageError at once if another writer holds it."""
    try:
        lock = try_lock(folder / _LOCK)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise StorageError(f"{folder}: could not be written ({error.strerror})") from error
        yield
        return
    if lock is None:
        raise StorageError(
            f"{folder}: another process is writing to this folder; wait for it to end and run this "
            "again"
        )
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)  # also of copies of the handle in forked processes
        os.close(lock)
