"""Keep local copies of objects: for reading, and as staging area of jobs that write to a store."""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from upath import UPath

from galaxy_da.errors import StorageError
from galaxy_da.io.files import download, draft_path
from galaxy_da.io.storage import (
    Location,
    PathOrUrl,
    cache_folder,
    list_names,
    location,
    upload_folder,
    url_hash,
)

_COPY_LOCK = Lock()


def local_copy(where: Location) -> Path:
    """Return a local file with the content of an object, which stays until this process ends.

    Readers of HDF5, memory maps and most catalogue formats need one. A local path is returned
    unchanged.
    """
    if isinstance(where, Path):
        return where
    with _COPY_LOCK:
        return _copied(where)


@contextmanager
def staged_folder(out: PathOrUrl) -> Iterator[Path]:
    """Yield a local folder to write to; for a URL, upload its files when the block succeeds.

    Until then they stay in the user's cache, so that an interrupted job can continue on this
    machine. A URL that has objects already raises StorageError.
    """
    target = location(out)
    if isinstance(target, Path):
        yield target
        return
    folder = cache_folder("unfinished") / url_hash(target)
    if not folder.exists() and list_names(target):
        raise StorageError(f"{target}: holds objects already; delete them or give another --out")
    folder.mkdir(exist_ok=True)
    try:
        yield folder
        upload_folder(folder, target)
        shutil.rmtree(folder)
    finally:
        if folder.exists() and not any(path.is_file() for path in folder.rglob("*")):
            shutil.rmtree(folder)


def replace_paths(value: Any, folder: Path, out: Location) -> Any:
    """Return a JSON value with the paths in a staged folder replaced by their URLs."""
    if isinstance(value, dict):
        return {key: replace_paths(item, folder, out) for key, item in value.items()}
    if isinstance(value, str) and Path(value).is_relative_to(folder):
        return f"{out}{value.removeprefix(str(folder))}"
    return value


@lru_cache(maxsize=4096)
def _copied(where: UPath) -> Path:
    folder = _copies() / url_hash(where)
    folder.mkdir(exist_ok=True)
    download(where, folder / where.name)
    return folder / where.name


@lru_cache(maxsize=1)
def _copies() -> Path:
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(draft_path(cache_folder("drafts") / "copies"))
    folder.mkdir()
    return folder
