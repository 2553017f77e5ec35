"""Write files and folders atomically, at a path or a URL.

Each output is a draft first, which is then renamed on a disk or uploaded whole to an object store.
A killed process or a full disk thus leaves the last good version.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from upath import UPath

from galaxy_da.errors import StorageError
from galaxy_da.io.locks import try_lock
from galaxy_da.io.storage import (
    Location,
    PathOrUrl,
    cache_folder,
    exists,
    is_folder,
    location,
    read_object,
    upload,
    upload_folder,
    url_hash,
)

_CONTENT, _LOCK = "content", ".lock"


@contextmanager
def atomic_path(where: PathOrUrl) -> Iterator[Path]:
    """Yield a temporary local path that becomes `where` when the block ends without an error.

    The temporary path has the same name, in a hidden folder. The folder of a target on a disk is
    created. A failure to write raises StorageError.
    """
    target = location(where)
    with _write_errors(target), draft_path(target) as draft:
        yield draft
        sync(draft)
        if isinstance(target, Path):
            draft.replace(target)
        else:
            upload(draft, target)


@contextmanager
def new_folder(where: PathOrUrl) -> Iterator[Path]:
    """Yield a temporary local folder that becomes `where` when the block ends without an error.

    The block creates the folder itself. StorageError is raised if `where` exists already, or cannot
    be written.
    """
    target = location(where)
    if exists(target) or is_folder(target):
        raise StorageError(f"{target}: is there already; delete it or give another --out")
    with _write_errors(target), draft_path(target) as draft:
        yield draft
        if isinstance(target, Path):
            for path in (draft, *draft.rglob("*")):
                sync(path)
            draft.rename(target)
        else:
            upload_folder(draft, target)


@contextmanager
def draft_path(target: Location) -> Iterator[Path]:
    """Yield an unused path named like the target, which is removed at the end.

    It lies in a locked hidden folder: beside a target on a disk, in the user's cache for a URL. The
    next writer of the same target empties and uses the folder that a killed process left.
    """
    if isinstance(target, Path):
        place = ensure_folder(target.parent) / f".{target.name}"
    else:
        place = cache_folder("drafts") / url_hash(target)
    numbered = (place.with_name(f"{place.name}.{number}.partial") for number in count())
    folder, lock = next(filter(None, map(_claimed, numbered)))
    try:
        shutil.rmtree(folder / _CONTENT, ignore_errors=True)
        (folder / _CONTENT).mkdir()
        yield folder / _CONTENT / target.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_drafts(folder: Path) -> None:
    """Remove all drafts below a folder that killed processes left."""
    for draft in list(folder.rglob(".*.partial")):
        if claimed := _claimed(draft):
            shutil.rmtree(draft, ignore_errors=True)
            if claimed[1] is not None:
                os.close(claimed[1])


def download(source: UPath, target: Path) -> None:
    """Copy an object to a local file, atomically; FileNotFoundError if there is none."""
    with draft_path(target) as draft:
        read_object(source, draft)
        draft.replace(target)


def ensure_folder(folder: str | os.PathLike[str]) -> Path:
    """Create a folder and its parents; a failure raises StorageError."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder}: the output folder could not be created ({error.strerror or error})"
        ) from error
    return Path(folder)


def output_folder(where: PathOrUrl) -> Location:
    """Return a folder to write to, created on a disk; a failure raises StorageError."""
    folder = location(where)
    return ensure_folder(folder) if isinstance(folder, Path) else folder


def write_json(target: PathOrUrl, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(target) as path:
        path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def json_hash(value: Any) -> str:
    """Return the SHA-256 of `value` as canonical JSON (sorted keys, no spaces)."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def file_hash(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a network disk that cannot sync a folder
            raise
    finally:
        os.close(handle)


@contextmanager
def _write_errors(target: Location) -> Iterator[None]:
    """Re-raise OSError as StorageError with the target."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{target}: could not be written ({error.strerror or error}); what was there before "
            "is untouched; free space or choose another output"
        ) from error


def _claimed(folder: Path) -> tuple[Path, int | None] | None:
    """Create or take over the folder of a draft; return it with its lock, None if it is in use."""
    try:
        folder.mkdir()
        is_new = True
    except FileExistsError:
        is_new = False
    try:
        lock = try_lock(folder / _LOCK)
    except FileNotFoundError:  # removed by its last user
        return None
    except OSError:  # a disk without locks, where only a new folder is surely not in use
        return (folder, None) if is_new else None
    return None if lock is None else (folder, lock)
