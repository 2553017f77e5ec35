"""Cache of indexes in object stores: one folder of file copies for each, up to a total size.

A process locks a folder while it fills, opens or removes it; the lock of a killed process is
released. An open index needs no lock, since its files are pinned.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from upath import UPath

from galaxy_da.errors import StorageError
from galaxy_da.index.locks import is_pinned
from galaxy_da.io.files import remove_drafts
from galaxy_da.io.storage import cache_folder, url_hash

LIMIT = "GALAXY_DA_INDEX_CACHE_GIB"
"""Environment variable of the largest total size of the copies [GiB]."""

_DEFAULT_GIB = 50.0
_LOCK = ".fetching"
_CHANGE = "change-"


@contextmanager
def copies(target: UPath) -> Iterator[Path]:
    """Lock the folder of copies of an index, and remove partial files of killed processes."""
    folder = cache_folder("indexes") / url_hash(target)
    folder.mkdir(exist_ok=True)
    with FileLock(folder / _LOCK):
        remove_drafts(folder)
        yield folder


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a temporary folder on the same disk, in which to change an index."""
    with (
        tempfile.TemporaryDirectory(prefix=_CHANGE, dir=cache_folder("indexes")) as folder,
        FileLock(Path(folder) / _LOCK),
    ):
        yield Path(folder)


def make_room(folder: Path, needed: int) -> None:
    """Remove the copies opened longest ago, until a folder that needs so many bytes fits.

    The caller has locked the folder; its present files are not counted, and stay. So do copies in
    use by a process, so that the limit can be exceeded.
    """
    surplus, others = needed - _limit(), []  # bytes to remove
    for path in folder.parent.iterdir():
        if path.name.startswith(_CHANGE):
            _remove_abandoned(path)
        elif path != folder and path.is_dir():
            others.append(path)
            surplus += _size(path)
    for other in sorted(others, key=lambda path: path.stat().st_mtime_ns):  # opening changes it
        if surplus <= 0:
            return
        surplus -= _empty(other)


def _limit() -> int:
    text = os.environ.get(LIMIT, str(_DEFAULT_GIB))
    try:
        return int(float(text) * 2**30)
    except (ValueError, OverflowError) as error:
        raise StorageError(
            f"{LIMIT}: is {text!r} but has to be a number of GiB, such as {_DEFAULT_GIB:g}"
        ) from error


def _size(folder: Path) -> int:
    size = 0
    for path in _files(folder):
        with suppress(FileNotFoundError):  # another process may remove it now
            size += path.stat().st_size
    return size


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != _LOCK]


def _empty(folder: Path) -> int:
    """Remove the files of a folder that is not in use; return their size [bytes]."""
    with suppress(Timeout), FileLock(folder / _LOCK, timeout=0):
        size, files = _size(folder), _files(folder)
        if not any(map(is_pinned, files)):
            for path in files:
                path.unlink()
            return size
    return 0


def _remove_abandoned(folder: Path) -> None:
    """Remove the scratch folder of a writer that was killed."""
    if not (folder / _LOCK).exists():
        return  # being made, or already removed
    with suppress(Timeout, FileNotFoundError), FileLock(folder / _LOCK, timeout=0):
        shutil.rmtree(folder, ignore_errors=True)
