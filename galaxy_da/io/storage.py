"""Read, list and write files, at paths of this machine and at URLs of object stores.

A local path is a `pathlib.Path`. A URL (``s3://``, ``gs://``, ``memory://`` and others that fsspec
knows) is a `upath.UPath`, which has the same methods. An object cannot be renamed or written in
pieces: it is uploaded whole. The store's own library repeats failed requests.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias, TypeVar

import pyarrow as pa
from platformdirs import user_cache_path
from pyarrow import ArrowInvalid
from upath import UPath

from galaxy_da.errors import GalaxyDAError, StorageError
from galaxy_da.io.containment import Box, is_sealed

PathOrUrl: TypeAlias = str | os.PathLike[str] | UPath
"""A path or URL as users give it."""

Location: TypeAlias = Path | UPath
"""A path of this machine, or an object in a store."""

T = TypeVar("T")

_EXTRAS = {"s3": "galaxy_da[s3]", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""Package to install for the protocol of a store."""

_DESCRIPTIONS = (".json", ".properties")
_KEPT = timedelta(days=1)


def location(where: PathOrUrl) -> Location:
    """Parse a path or URL; ``file://`` is a local path. An unknown protocol raises StorageError."""
    if isinstance(where, Path) or "://" not in str(where):
        return Path(str(where))
    try:
        path = UPath(where, use_listings_cache=False)  # other processes write to the store too
        if path.protocol in ("", "file", "local"):
            return Path(path.path)
        _ = path.fs
    except ImportError as error:
        protocol = str(where).partition("://")[0]
        raise StorageError(
            f"{where}: needs a library that speaks {protocol}; install it with "
            f"`pip install {_EXTRAS.get(protocol, 'fsspec[full]')}`"
        ) from error
    except ValueError as error:
        raise StorageError(
            f"{where}: is no path and no URL of a known store ({error}); expected a path, s3://, "
            "gs:// or file://"
        ) from error
    return path


def resolve(folder: Location, uri: str) -> Location:
    """Return the location of a URI: relative to a folder, absolute, or a URL.

    In a sealed process, only a file below the folder (`galaxy_da.io.containment`).
    """
    if is_sealed():
        return Box(Path(str(folder))).path(uri)
    if "://" in uri:
        return location(uri)
    return Path(uri) if uri.startswith("/") else folder / uri


@contextmanager
def store_errors(where: Location, action: str = "read") -> Iterator[None]:
    """Re-raise a store's own errors as StorageError with the URL and the action, a past participle.

    Errors at a local path, missing and existing files and bad Parquet files are not changed.
    """
    if isinstance(where, Path):
        yield
        return
    try:
        yield
    except (GalaxyDAError, FileNotFoundError, FileExistsError, ArrowInvalid):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StorageError(
            f"{where}: could not be {action} ({reason}); check the URL, the credentials and the "
            "connection, then run this again"
        ) from error


def with_store_errors(where: Location, items: Iterator[T]) -> Iterator[T]:
    """Yield items that are read lazily from a store, with the errors of `store_errors`."""
    while True:
        with store_errors(where):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def exists(where: Location) -> bool:
    """Test if there is a file or object; a failing store raises StorageError."""
    if isinstance(where, Path):
        return where.is_file()
    try:
        with store_errors(where):
            return str(where.fs.info(where.path)["type"]) == "file"
    except FileNotFoundError:
        return False


def is_folder(where: Location) -> bool:
    """Test if there is a folder, or any object below a URL."""
    return where.is_dir() if isinstance(where, Path) else bool(list_names(where))


def list_names(folder: Location) -> set[str]:
    """Return the names in a folder, an empty set if there is no such folder."""
    try:
        if isinstance(folder, Path):
            return {path.name for path in folder.iterdir()}
        with store_errors(folder, "listed"):
            listing = folder.fs.ls(folder.path, detail=False)
    except FileNotFoundError:
        return set()
    return {name.rstrip("/").rsplit("/", 1)[-1] for name in listing}


def list_files(folder: Location) -> list[Location]:
    """Return all files in a folder and its subfolders, sorted; on a disk except hidden ones."""
    if isinstance(folder, Path):
        return sorted(_visible_files(folder))
    with store_errors(folder, "listed"):
        listing = folder.fs.find(folder.path)
    return [folder / name.removeprefix(folder.path).lstrip("/") for name in sorted(listing)]


def read_bytes(where: Location) -> bytes:
    """Read a whole file or object; OSError if it is missing, StorageError if a store fails."""
    if isinstance(where, Path):
        return where.read_bytes()
    with store_errors(where):
        try:
            return bytes(where.fs.cat_file(where.path))
        except FileNotFoundError as error:
            raise _no_such_object(where) from error


def read_text(where: Location) -> str:
    """Read a whole UTF-8 text file; errors as of `read_bytes`."""
    return read_bytes(where).decode("utf-8")


def parquet_source(where: Location) -> Path | pa.NativeFile:
    """Open a Parquet file for pyarrow, so that only the columns and rows in use are fetched."""
    if isinstance(where, Path):
        return where
    with store_errors(where, "opened"):
        return pa.PythonFile(where.fs.open(where.path, "rb", cache_type="none"), mode="r")


def read_object(source: UPath, target: Path) -> None:
    """Copy an object to a local file; FileNotFoundError if there is none."""
    with store_errors(source):
        try:
            source.fs.get_file(source.path, str(target))
        except FileNotFoundError as error:
            raise _no_such_object(source) from error


def upload(source: Path, target: UPath) -> None:
    """Copy a local file to an object, atomically; a failure raises StorageError."""
    try:
        with store_errors(target, "written"):
            target.fs.put_file(str(source), target.path)
    except FileNotFoundError as error:
        raise StorageError(f"{target}: could not be written ({error})") from error


def upload_folder(folder: Path, target: UPath) -> None:
    """Copy the files of a local folder to a store, except hidden ones.

    Descriptions, which mark a folder as complete, come last and the outermost of them at the end;
    others in the order in which they were written. After a StorageError, those before it stay.
    """

    def order(path: Path) -> tuple[bool, int, int]:
        described = path.suffix in _DESCRIPTIONS
        return described, -described * len(path.parts), path.stat().st_mtime_ns

    for path in sorted(_visible_files(folder), key=order):
        upload(path, target / path.relative_to(folder).as_posix())


def remove_old_objects(objects: Iterable[UPath]) -> None:
    """Remove objects that are older than a day, so that those of a writer at work stay."""
    for place in objects:
        with store_errors(place, "removed"):
            written = place.fs.modified(place.path)
            if datetime.now(UTC) - written.replace(tzinfo=written.tzinfo or UTC) > _KEPT:
                place.fs.rm_file(place.path)


def create_object(target: UPath, data: bytes) -> None:
    """Create an object; of several concurrent writers, one succeeds, others get FileExistsError."""
    try:
        with store_errors(target, "written"):
            target.fs.pipe_file(target.path, data, mode="create")
    except FileExistsError:
        if read_bytes(target) != data:  # equal if our own request succeeded but its answer was lost
            raise
    except FileNotFoundError as error:
        raise StorageError(f"{target}: could not be written ({error})") from error


def cache_folder(name: str) -> Path:
    """Return a folder of the user's cache, created if needed; a failure raises StorageError."""
    folder = user_cache_path("galaxy_da") / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder}: could not be created ({error.strerror}); set XDG_CACHE_HOME to a folder "
            "that can be written"
        ) from error
    return folder


def url_hash(where: UPath) -> str:
    """Return a file name for a URL, 16 hexadecimal digits."""
    return hashlib.sha256(str(where).encode()).hexdigest()[:16]


def _visible_files(folder: Path) -> list[Path]:
    """Return the files below a folder, without hidden ones and those in hidden folders."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    ]


def _no_such_object(where: UPath) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(where))
