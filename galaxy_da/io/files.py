"""Write files and folders atomically, at a path or a URL.

Each output goes to a temporary file first, which is then renamed on a disk or uploaded whole to an
object store. A killed process or a full disk thus leaves the last good version.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from galaxy_da.errors import StorageError
from galaxy_da.io.storage import (
    Location,
    PathOrUrl,
    exists,
    is_folder,
    location,
    partial_path,
    upload,
    upload_folder,
)

__all__ = [
    "atomic_path", "ensure_folder", "file_hash", "json_hash", "new_folder", "output_folder",
    "write_json",
]  # fmt: skip


@contextmanager
def atomic_path(where: PathOrUrl) -> Iterator[Path]:
    """Yield a temporary local path that becomes `where` when the block ends without an error.

    The temporary path has the same suffix; on a disk it is beside the target, whose folder is
    created. A failure to write raises StorageError.
    """
    target = location(where)
    if not isinstance(target, Path):
        with tempfile.TemporaryDirectory(prefix="galaxy_da-") as folder:
            temporary = Path(folder) / target.name
            with _write_errors(target):
                yield temporary
            upload(temporary, target)
        return
    ensure_folder(target.parent)
    temporary = partial_path(target)
    try:
        with _write_errors(target):
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(where: PathOrUrl) -> Iterator[Path]:
    """Yield a temporary local folder that becomes `where` when the block ends without an error.

    The block creates the folder itself. StorageError is raised if `where` exists already, or cannot
    be written.
    """
    target = location(where)
    if exists(target) or is_folder(target):
        raise StorageError(f"{target}: is there already; delete it or give another --out")
    if not isinstance(target, Path):
        with tempfile.TemporaryDirectory(prefix="galaxy_da-") as scratch, _write_errors(target):
            yield Path(scratch) / target.name
            upload_folder(Path(scratch) / target.name, target)
        return
    ensure_folder(target.parent)
    partial = partial_path(target)
    try:
        with _write_errors(target):
            yield partial
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
