"""Manifest of an index, ``index.json``: the name, size and hash of every data file.

A data file is named after its content and never changes. The manifest is replaced last, in one
step. A crash at any byte therefore leaves the old index, and an open index keeps its own files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from galaxy_da.errors import LatentIndexError, StorageError
from galaxy_da.index.kinds import KINDS
from galaxy_da.index.locks import remove_unpinned
from galaxy_da.io.files import draft_path, file_hash, json_hash, sync, write_json

MANIFEST = "index.json"

_FORMAT = 3
_DATA = ("rows-", "vectors-", "search-", "deleted-")
"""Prefixes of data files."""

_END = 1 << 20


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredFile(_Record):
    """A file that never changes: its name, size, and SHA-256 of all and of its two ends."""

    name: str
    bytes: int
    sha256: str
    ends_sha256: str

    def check(self, folder: Path, *, whole: bool) -> None:
        """Check the size and the hash of the file, of its ends or whole."""
        path = folder / self.name
        try:
            size = path.stat().st_size
            same = size == self.bytes and (
                file_hash(path) == self.sha256
                if whole
                else _ends_hash(path, size) == self.ends_sha256
            )
        except OSError as error:
            raise LatentIndexError(
                f"{path}: cannot be read ({error.strerror}) though {MANIFEST} names it; build the "
                "index again"
            ) from error
        if not same:
            found = f"{size} bytes" if size != self.bytes else "its SHA-256 differs"
            raise LatentIndexError(
                f"{path}: is damaged ({found}, expected {self.bytes} bytes with SHA-256 "
                f"{self.sha256[:12]}); build the index again"
            )


class SegmentFiles(_Record):
    """One segment: its number of rows per survey, its kind, the reason for it, and its files."""

    surveys: dict[str, int]
    kind: str
    reason: str
    rows: StoredFile
    vectors: StoredFile
    search: StoredFile | None = None
    deleted: StoredFile | None = None
    n_deleted: int = 0

    @property
    def n_rows(self) -> int:
        """Number of rows, deleted ones included."""
        return sum(self.surveys.values())

    def files(self) -> list[StoredFile]:
        """All files of the segment."""
        return [f for f in (self.rows, self.vectors, self.search, self.deleted) if f is not None]


class Header(_Record):
    """Origin and settings of an index; `generation` counts the changes since it was created."""

    format: int = _FORMAT
    generation: int = 0
    space_id: str
    encoders: dict[str, str]
    dimension: int
    metric: str = "euclidean"
    kind: str


class Manifest(Header):
    """The state of an index on disk."""

    segments: list[SegmentFiles]

    @property
    def files(self) -> list[StoredFile]:
        """All data files."""
        return [file for segment in self.segments for file in segment.files()]

    @property
    def names(self) -> set[str]:
        """Names of the data files."""
        return {file.name for file in self.files}

    @property
    def bytes(self) -> int:
        """Size of all data files."""
        return sum(file.bytes for file in self.files)


def read(folder: Path, name: str = MANIFEST) -> Manifest:
    """Read the manifest of an index folder."""
    path = folder / name
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LatentIndexError(
            f"{folder}: no index here ({MANIFEST}: {error.strerror}); make one with "
            f"`galaxy-da index FEATURES --out {folder}`"
        ) from error
    except ValueError as error:
        raise LatentIndexError(f"{path}: is not JSON ({error}); build the index again") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise LatentIndexError(
            f"{path}: is not an index of format {_FORMAT}, which this version reads; build the "
            "index again"
        )
    try:
        whole = header.pop("header_sha256", None) == json_hash(header)
        header.pop("memory_bytes", None)  # of earlier versions
        manifest = Manifest.model_validate(header) if whole else None
    except ValidationError:
        manifest = None
    if manifest is None:
        raise LatentIndexError(f"{path}: was edited or damaged; build the index again")
    for kind in (manifest.kind, *(segment.kind for segment in manifest.segments)):
        if kind not in ("auto", *KINDS):
            raise LatentIndexError(
                f"{path}: kind {kind!r} is not supported, only {' and '.join(KINDS)}; build the "
                "index again"
            )
    return manifest


def next_generation(folder: Path) -> int:
    """Return the next generation of a folder, 1 if it holds no readable index."""
    try:
        return read(folder).generation + 1
    except LatentIndexError:
        return 1


def commit(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of a folder, then remove files that nobody needs any more."""
    sync(folder)  # the names of the data files come before the manifest that uses them
    header: dict[str, Any] = manifest.model_dump(mode="json")
    write_json(folder / MANIFEST, {**header, "header_sha256": json_hash(header)})
    sync(folder)
    remove_unpinned(
        [folder / name for name in leftovers([path.name for path in folder.iterdir()], manifest)]
    )


def leftovers(names: Iterable[str], manifest: Manifest) -> list[str]:
    """Return the names of data files that a manifest does not list."""
    return [name for name in names if name.startswith(_DATA) and name not in manifest.names]


class Drafts:
    """Temporary files of an index folder, in a folder of their own. Made by `drafts`."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self._folder, self._scratch = folder, scratch

    def path(self, name: str) -> Path:
        """Return the path to write a file to."""
        return self._scratch / name

    def keep(self, name: str) -> StoredFile:
        """Sync a file to disk and name it after its content."""
        draft = self.path(name)
        sync(draft)
        digest, size = file_hash(draft), draft.stat().st_size
        file = StoredFile(
            name=f"{draft.stem}-{digest[:12]}{draft.suffix}",
            bytes=size,
            sha256=digest,
            ends_sha256=_ends_hash(draft, size),
        )
        draft.replace(self._folder / file.name)
        return file


@contextmanager
def drafts(folder: Path) -> Iterator[Drafts]:
    """Write data files; those not kept are removed at the end."""
    try:
        with draft_path(folder / "files") as scratch:
            scratch.mkdir()
            yield Drafts(folder, scratch)
    except OSError as error:
        raise StorageError(
            f"{folder}: could not be written ({error.strerror or error}); the index is as it was; "
            "free space or choose another folder"
        ) from error


def _ends_hash(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        digest.update(handle.read(_END))
        handle.seek(max(_END, size - _END))
        digest.update(handle.read(_END))
    return digest.hexdigest()
