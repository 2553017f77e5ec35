"""Where files are: paths of this machine, and URLs of object stores.

A local path is a `pathlib.Path`; ``s3://``, ``gs://``, ``memory://`` and what else fsspec knows is
a `upath.UPath`, which has the same methods. An object cannot be renamed or written in pieces: it is
put whole, and is as it was until then. Requests are tried again by the store's own library.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias, TypeVar

import pyarrow as pa
from platformdirs import user_cache_path
from pyarrow import ArrowInvalid
from upath import UPath

from galaxy_da.errors import GalaxyDAError, StorageError

__all__ = [
    "Location",
    "PathOrUrl",
    "cache_folder",
    "create_object",
    "download",
    "exists",
    "is_folder",
    "list_files",
    "list_names",
    "local_copy",
    "location",
    "parquet_source",
    "partial_path",
    "read_bytes",
    "read_text",
    "replace_paths",
    "resolve",
    "staged_folder",
    "store_errors",
    "upload",
    "upload_folder",
    "url_hash",
    "with_store_errors",
]

PathOrUrl: TypeAlias = str | os.PathLike[str] | UPath
"""A path or URL as it is given."""

Location: TypeAlias = Path | UPath
"""A path of this machine, or an object in a store."""

T = TypeVar("T")

_EXTRAS = {"s3": "galaxy_da[s3]", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""What to install for a store."""

_COPYING = Lock()


def location(where: PathOrUrl) -> Location:
    """Return where a path or URL points; ``file://`` is a local path.

    Raises
    ------
    StorageError
        If no store is known by the URL's protocol, or the library that speaks to it is missing.
    """
    if isinstance(where, Path) or "://" not in str(where):
        return Path(str(where))
    try:
        path = UPath(where, use_listings_cache=False)  # others write there too
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
    """Return where a URI points that may be relative to a folder, absolute, or a URL."""
    if "://" in uri:
        return location(uri)
    return Path(uri) if uri.startswith("/") else folder / uri


@contextmanager
def store_errors(where: Location, done: str = "read") -> Iterator[None]:
    """Name the URL in whatever goes wrong with a store, of which each has errors of its own.

    Parameters
    ----------
    where : Location
        A local path is left alone.
    done : str
        What could not be done, for the message.

    Raises
    ------
    StorageError
        If the store refuses, cannot be reached, or goes on failing.
    FileNotFoundError, FileExistsError, ArrowInvalid
        As they are.
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
            f"{where}: could not be {done} ({reason}); check the URL, the credentials and the "
            "connection, then run this again"
        ) from error


def with_store_errors(where: Location, items: Iterator[T]) -> Iterator[T]:
    """Yield what is read bit by bit from a store; errors of the reading as of `reaching`."""
    while True:
        with store_errors(where):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def exists(where: Location) -> bool:
    """Whether there is a file or object.

    Raises
    ------
    StorageError
        If the store does not say.
    """
    if isinstance(where, Path):
        return where.is_file()
    try:
        with store_errors(where):
            return str(where.fs.info(where.path)["type"]) == "file"
    except FileNotFoundError:
        return False


def list_names(folder: Location) -> set[str]:
    """Return the names in a folder, none if there is no such folder.

    Raises
    ------
    StorageError
        If the store does not say.
    """
    try:
        if isinstance(folder, Path):
            return {path.name for path in folder.iterdir()}
        with store_errors(folder, "listed"):
            found = folder.fs.ls(folder.path, detail=False)
    except FileNotFoundError:
        return set()
    return {name.rstrip("/").rsplit("/", 1)[-1] for name in found}


def list_files(folder: Location) -> list[Location]:
    """Return all files in a folder and its folders, in order of their names.

    Raises
    ------
    StorageError
        If the store does not say.
    """
    if isinstance(folder, Path):
        return sorted(path for path in folder.rglob("*") if path.is_file())
    with store_errors(folder, "listed"):
        found = folder.fs.find(folder.path)
    return [folder / name.removeprefix(folder.path).lstrip("/") for name in sorted(found)]


def is_folder(where: Location) -> bool:
    """Whether there is a folder, or are objects below a URL; errors as of `names`."""
    return where.is_dir() if isinstance(where, Path) else bool(list_names(where))


def read_bytes(where: Location) -> bytes:
    """Return a whole file or object.

    Raises
    ------
    OSError
        If a local file cannot be read, or there is none.
    StorageError
        If the store fails.
    """
    if isinstance(where, Path):
        return where.read_bytes()
    with store_errors(where):
        try:
            return bytes(where.fs.cat_file(where.path))
        except FileNotFoundError as error:
            raise _absent(where) from error


def read_text(where: Location) -> str:
    """Return a whole text file, UTF-8; errors as of `read_bytes`."""
    return read_bytes(where).decode("utf-8")


def parquet_source(where: Location) -> Path | pa.NativeFile:
    """Return what pyarrow reads Parquet from, of which only what is asked for is fetched."""
    if isinstance(where, Path):
        return where
    with store_errors(where, "opened"):
        return pa.PythonFile(where.fs.open(where.path, "rb", cache_type="none"), mode="r")


def partial_path(target: Path) -> Path:
    """Return a hidden path beside a target, of the same suffix, that no process anywhere has."""
    return target.with_name(f".{target.stem}.{secrets.token_hex(8)}.partial{target.suffix}")


def download(source: UPath, target: Path) -> None:
    """Copy an object to a local file, which is whole or as it was.

    Raises
    ------
    FileNotFoundError
        If there is no such object.
    StorageError
        If the store fails, or the file cannot be written.
    """
    partial = partial_path(target)
    with store_errors(source):
        try:
            source.fs.get_file(source.path, str(partial))
            partial.replace(target)
        except FileNotFoundError as error:
            raise _absent(source) from error
        finally:
            partial.unlink(missing_ok=True)


def upload(source: Path, target: UPath) -> None:
    """Copy a local file into a store, where it appears whole.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    try:
        with store_errors(target, "written"):
            target.fs.put_file(str(source), target.path)
    except FileNotFoundError as error:
        raise StorageError(f"{target}: could not be written ({error})") from error


def upload_folder(folder: Path, target: UPath) -> None:
    """Copy the files of a local folder into a store, hidden ones left out.

    They are put in the order in which they were written, so that what marks a folder as whole comes
    last.

    Raises
    ------
    StorageError
        If one cannot be written; those before it stay.
    """
    files = [path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns):
        upload(path, target / path.relative_to(folder).as_posix())


def create_object(target: UPath, data: bytes) -> None:
    """Put an object where there is none, which one of several writers can do.

    Raises
    ------
    FileExistsError
        If another's is there.
    StorageError
        If it cannot be written.
    """
    try:
        with store_errors(target, "written"):
            target.fs.pipe_file(target.path, data, mode="create")
    except FileExistsError:
        if read_bytes(target) != data:  # equal after a request that was answered with an error
            raise
    except FileNotFoundError as error:
        raise StorageError(f"{target}: could not be written ({error})") from error


def local_copy(where: Location) -> Path:
    """Return a local file with what an object holds, until this process ends.

    For what only reads local files: HDF5, memory maps, most catalogue formats. A local path is
    returned as it is.

    Raises
    ------
    FileNotFoundError
        If there is no such object.
    StorageError
        If the store fails, or the copy cannot be written.
    """
    if isinstance(where, Path):
        return where
    with _COPYING:
        return _copied(where)


def cache_folder(what: str) -> Path:
    """Return a folder of the user's cache.

    Raises
    ------
    StorageError
        If it cannot be made.
    """
    folder = user_cache_path("galaxy_da") / what
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder}: could not be created ({error.strerror}); set XDG_CACHE_HOME to a folder "
            "that can be written"
        ) from error
    return folder


def url_hash(where: UPath) -> str:
    """Return a name for a URL."""
    return hashlib.sha256(str(where).encode()).hexdigest()[:16]


@contextmanager
def staged_folder(out: PathOrUrl) -> Iterator[Path]:
    """Yield a local folder to fill; at a URL, its files are put there when the block ends well.

    Until then they are kept in the user's cache, so that a job that was stopped goes on, on this
    machine.

    Raises
    ------
    StorageError
        If something else is at the URL, or cannot be written.
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
    """Return a JSON value in which the paths in a staged folder are those they have at its URL."""
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
    folder = Path(tempfile.mkdtemp(prefix="galaxy_da-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _absent(where: UPath) -> FileNotFoundError:
    """Say, as for a local file, that there is no such object."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(where))
