"""Files that are either whole or absent.

Everything this project writes goes to a temporary name beside its target and is renamed into place,
so a killed process or a full disk leaves the last good version.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from galaxy_da.errors import StorageError

__all__ = ["atomic_path", "ensure_folder", "file_hash", "json_hash", "write_json"]

_READ_BYTES = 1 << 20


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes `target` when the block ends without an error.

    Parameters
    ----------
    target : path
        The file to write. Its folder is created.

    Yields
    ------
    Path
        Where to write, in the same folder and with the same suffix.

    Raises
    ------
    StorageError
        If the folder or the file cannot be written (permissions, full disk).
    """
    target = Path(target)
    ensure_folder(target.parent)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(target)
    except OSError as error:
        raise StorageError(
            f"{target}: could not be written ({error.strerror or error}); what was there before "
            "is untouched; free space or choose another output"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def ensure_folder(folder: str | os.PathLike[str]) -> Path:
    """Create a folder and its parents.

    Raises
    ------
    StorageError
        If it cannot be created, or a file is in the way.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder}: the output folder could not be created ({error.strerror or error})"
        ) from error
    return Path(folder)


def write_json(target: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(target) as path:
        path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def json_hash(value: Any) -> str:
    """Return the SHA-256 of `value` as canonical JSON (sorted keys, no spaces)."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def file_hash(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while block := handle.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
