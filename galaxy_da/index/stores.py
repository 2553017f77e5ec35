"""Index in an object store: opened from a local mirror, changed in a local folder.

Data files are named after their content, so that a local copy need not be fetched again. Object
stores have no locks. Each change therefore creates a new manifest, ``index-<generation>.json``,
and fails if it exists: of two writers that start from the same state, the second gets an error.
The manifest of the highest number is the index. Files that it does not name are removed after a
day, so that the files of a writer which is still at work stay.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from upath import UPath

from galaxy_da.errors import LatentIndexError
from galaxy_da.index import manifest
from galaxy_da.index.cache import copies, make_room, scratch
from galaxy_da.index.manifest import MANIFEST, Drafts, Header, Manifest, SegmentFiles
from galaxy_da.io.files import download, output_folder
from galaxy_da.io.locks import only_writer
from galaxy_da.io.storage import (
    PathOrUrl,
    create_object,
    list_names,
    location,
    read_bytes,
    remove_old_objects,
    upload,
)

_NUMBERED = re.compile(r"index-(\d{6,})\.json")


@contextmanager
def mirrored(where: PathOrUrl) -> Iterator[Path]:
    """Yield a local folder of an index: the path itself, or an up-to-date copy of a URL.

    A copy is locked until the block ends. Copies of other indexes may be removed to make room in
    the cache (`galaxy_da.index.cache`).
    """
    target = location(where)
    if isinstance(target, Path):
        yield target
        return
    with copies(target) as mirror:
        _update(target, mirror)
        yield mirror


@contextmanager
def workplace(where: PathOrUrl, *, anew: bool = False) -> Iterator[Path]:
    """Yield a local folder in which to change an index; for a URL it is uploaded at the end.

    With `anew` there need not be an index; one that is there is replaced. If another process
    changed the index meanwhile, LatentIndexError is raised, and the index is as that process left
    it.
    """
    target = location(where)
    if isinstance(target, Path):
        yield target
        return
    with scratch() as folder:
        before = None
        if not anew:
            with mirrored(target) as mirror:
                before = manifest.read(mirror)
                for name in (*before.names, MANIFEST):
                    os.link(mirror / name, folder / name)
        elif newest := newest_manifest(target):
            (folder / MANIFEST).write_bytes(read_bytes(target / newest))
        yield folder
        _publish(folder, target, before)


def write_index(
    where: PathOrUrl, header: Header, write: Callable[[Drafts], list[SegmentFiles]]
) -> None:
    """Write a whole index; one that is there already stays whole until it is replaced."""
    output_folder(where)
    with workplace(where, anew=True) as folder, only_writer(folder):
        with manifest.drafts(folder) as drafts:
            segments = write(drafts)
        new = {"generation": manifest.next_generation(folder), "segments": segments}
        manifest.commit(folder, Manifest(**{**header.model_dump(), **new}))


def _update(target: UPath, mirror: Path) -> None:
    """Update a mirror to the newest state of its index."""
    while True:
        newest = newest_manifest(target)
        if newest is None:
            raise LatentIndexError(
                f"{target}: no index here ({MANIFEST} is missing); make one with "
                f"`galaxy-da index FEATURES --out {target}`"
            )
        try:
            return _fetch(target, newest, mirror)
        except FileNotFoundError as error:
            if newest_manifest(target) == newest:
                raise LatentIndexError(
                    f"{error.filename}: is missing though {newest} names it; build the index again"
                ) from error


def newest_manifest(target: UPath) -> str | None:
    """Return the name of the newest manifest, if there is one."""
    stored = list_names(target)
    numbered = [name for name in stored if _NUMBERED.fullmatch(name)]
    if numbered:
        return max(numbered, key=lambda name: int(name[6:-5]))
    return MANIFEST if MANIFEST in stored else None  # a folder that was copied from a disk


def _fetch(target: UPath, newest: str, mirror: Path) -> None:
    """Update a mirror to the state of a manifest; FileNotFoundError if the store lost a file."""
    download(target / newest, mirror / f".{MANIFEST}")
    wanted = manifest.read(mirror, f".{MANIFEST}")
    make_room(mirror, wanted.bytes)
    for file in wanted.files:
        try:
            file.check(mirror, whole=False)
        except LatentIndexError:
            download(target / file.name, mirror / file.name)
            file.check(mirror, whole=True)
    manifest.commit(mirror, wanted)


def _publish(folder: Path, target: UPath, before: Manifest | None) -> None:
    """Upload a changed index: data files first, then a new manifest."""
    now = manifest.read(folder)
    for file in now.files:
        if before is None or file.name not in before.names:
            upload(folder / file.name, target / file.name)
    with copies(target) as mirror:
        make_room(mirror, now.bytes)
        for file in now.files:
            if not (mirror / file.name).exists():
                os.link(folder / file.name, mirror / file.name)
    numbered = target / f"index-{now.generation:06d}.json"
    try:
        create_object(numbered, (folder / MANIFEST).read_bytes())
    except FileExistsError as error:
        raise LatentIndexError(
            f"{target}: another process changed this index meanwhile ({numbered.name} is there); "
            "this change was discarded, run it again"
        ) from error
    remove_old_objects([target / name for name in manifest.leftovers(list_names(target), now)])
