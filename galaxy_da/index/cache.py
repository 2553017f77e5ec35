"""The user's cache of indexes in object stores: a folder of copies for each, up to a limit.

Whoever fills a folder, opens what it holds or removes it holds the folder's lock meanwhile, which a
killed process gives back. An open index needs no lock: its files are pinned.
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
from galaxy_da.io.staging import cache_folder, url_hash

__all__ = ["LIMIT", "copies", "make_room", "scratch"]

LIMIT = "GALAXY_DA_INDEX_CACHE_GIB"
"""Environment variable that says how large the copies may be together [GiB]."""

_USUAL_GIB = 50.0
_LOCK = ".fetching"
_CHANGE = "change-"


@contextmanager
def copies(target: UPath) -> Iterator[Path]:
    """Hold the folder of copies of an index's files; what a killed process left half is gone.

    Raises
    ------
    StorageError
        If the cache cannot be written.
    """
    folder = cache_folder("indexes") / url_hash(target)
    folder.mkdir(exist_ok=True)
    with FileLock(folder / _LOCK):
        for partial in folder.glob(".*.partial*"):
            partial.unlink()
        yield folder


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder, of the same disk, to change an index in; it is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix=_CHANGE, dir=cache_folder("indexes")) as folder,
        FileLock(Path(folder) / _LOCK),
    ):
        yield Path(folder)


def make_room(folder: Path, needed: int) -> None:
    """Remove what was opened longest ago, until a folder's files fit below the limit.

    Copies that a process has open, opens or fetches stay, so that the limit can be exceeded by what
    is in use.

    Parameters
    ----------
    folder : Path
        Held by the caller; what it has already is not counted, and stays.
    needed : int
        How large its files will be [bytes].

    Raises
    ------
    StorageError
        If the limit is no number.
    """
    excess, others = needed - _limit(), []
    for path in folder.parent.iterdir():
        if path.name.startswith(_CHANGE):
            _remove_abandoned(path)
        elif path != folder and path.is_dir():
            others.append(path)
            excess += _size(path)
    for other in sorted(others, key=lambda path: path.stat().st_mtime_ns):  # opening changes it
        if excess <= 0:
            return
        excess -= _emptied(other)


def _limit() -> int:
    given = os.environ.get(LIMIT, str(_USUAL_GIB))
    try:
        return int(float(given) * 2**30)
    except (ValueError, OverflowError) as error:
        raise StorageError(
            f"{LIMIT}: is {given!r} but has to be a number of GiB, such as {_USUAL_GIB:g}"
        ) from error


def _size(folder: Path) -> int:
    size = 0
    for path in _files(folder):
        with suppress(FileNotFoundError):  # another process may remove it now
            size += path.stat().st_size
    return size


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != _LOCK]


def _emptied(folder: Path) -> int:
    """Remove a folder's files, unless it is in use; return how many bytes they were."""
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
        return  # just made, or gone
    with suppress(Timeout, FileNotFoundError), FileLock(folder / _LOCK, timeout=0):
        shutil.rmtree(folder, ignore_errors=True)
