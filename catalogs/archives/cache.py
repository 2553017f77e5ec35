"""Index of the cutouts on this machine, so that no request is made twice.

Cutouts stay in the folders of their fetches. A file that was deleted or changed is not used.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeAlias

from platformdirs import user_cache_path

from galaxy_da.errors import StorageError
from galaxy_da.io.files import ensure_folder

_TIMEOUT_S = 30.0

Cached: TypeAlias = tuple[Path, str]  # a cutout on this machine, and its SHA-256


class Cache:
    """SQLite file of requests and the paths of their cutouts.

    By default it is ``galaxy_da/cutouts.sqlite`` in the user's cache folder. StorageError is raised
    if it cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path) if path else user_cache_path("galaxy_da") / "cutouts.sqlite"
        ensure_folder(self.path.parent)
        with self._open() as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS cutouts "
                "(request TEXT PRIMARY KEY, path TEXT NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID"
            )

    def find(self, keys: Sequence[str]) -> dict[str, Cached]:
        """Return the known cutouts of some requests, unverified."""
        wanted = "SELECT value FROM json_each(?)"
        query = f"SELECT request, path, sha256 FROM cutouts WHERE request IN ({wanted})"
        with self._open() as database:
            rows = database.execute(query, [json.dumps(list(keys))])
            return {key: (Path(path), sha256) for key, path, sha256 in rows}

    def add(self, files: Mapping[str, Cached]) -> None:
        """Record the cutouts of some requests, all or none of them."""
        rows = [(key, str(path.resolve()), sha256) for key, (path, sha256) in files.items()]
        with self._open() as database:
            database.executemany("INSERT OR REPLACE INTO cutouts VALUES (?, ?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_TIMEOUT_S)) as database, database:
                yield database
        except sqlite3.Error as error:
            raise StorageError(
                f"{self.path}: the cutout cache cannot be used ({error}); delete it or give "
                "another file"
            ) from error
