"""Journal of a fetch: one JSON line per answered request, appended and synced.

A line counts only if it is whole, so a kill or a full disk loses at most the line being written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from galaxy_da.errors import StorageError


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of one request: its cutout's checksum and size, or the reason why there is none.

    The status is one of `galaxy_da.io.samples.STATUSES`.
    """

    key: str
    status: str
    sha256: str | None = None
    bytes: int | None = None
    message: str | None = None


class Journal:
    """Append-only file of outcomes; the last one of a key counts.

    A file is created if missing; a torn last line is cut off. StorageError is raised if it cannot
    be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[str, Outcome] = {}
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            whole = path.read_bytes()
            whole = whole[: whole.rfind(b"\n") + 1]
            os.ftruncate(self._file, len(whole))
            os.lseek(self._file, 0, os.SEEK_END)
        except OSError as error:
            raise StorageError(f"{path}: cannot be used ({error.strerror})") from error
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                outcome = Outcome(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise StorageError(
                    f"{path}: line {number} is damaged ({error}); delete the folder or give another"
                ) from error
            self.outcomes[outcome.key] = outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Record outcomes on disk; StorageError if they cannot be written, then none counts."""
        new = {outcome.key: outcome for outcome in outcomes}
        lines = b"".join(
            json.dumps({k: v for k, v in asdict(o).items() if v is not None}).encode() + b"\n"
            for o in new.values()
        )
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, end)
            raise StorageError(
                f"{self.path}: could not be written ({error.strerror}); what was recorded before "
                "is safe; free space and run the same command again to go on"
            ) from error
        self.outcomes.update(new)
