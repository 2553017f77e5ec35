"""What a fetch has been told so far: one JSON line per request, appended and synced.

A line is whole or does not count: a kill or a full disk in the middle of one loses that line alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from galaxy_da.errors import StorageError

__all__ = ["Journal", "Outcome"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one request.

    Attributes
    ----------
    key : str
        Of the request.
    status : str
        One of `galaxy_da.io.tables.STATUSES`.
    sha256 : str or None
        Of the cutout, where there is one.
    bytes : int or None
        Its size.
    message : str or None
        What was wrong, where there is none.
    """

    key: str
    status: str
    sha256: str | None = None
    bytes: int | None = None
    message: str | None = None


class Journal:
    """An append-only file of outcomes; the last one of a key holds.

    Parameters
    ----------
    path : Path
        Made if it is not there. A torn last line is cut off.

    Raises
    ------
    StorageError
        If it cannot be read or written.
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Record outcomes; when this returns they are on disk.

        Raises
        ------
        StorageError
            If they cannot be written; none of them counts then.
        """
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
