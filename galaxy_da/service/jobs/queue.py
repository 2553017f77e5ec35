"""The queue of jobs: one SQLite file that all worker processes share, and a folder for each job.

An acknowledged job is in the file, synced to disk. Its folder holds the upload, the log, the lock
and, at the end, one outcome. The queue does not depend on clocks.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Json

from galaxy_da.errors import StorageError
from galaxy_da.io.files import ensure_folder, sync, write_json
from galaxy_da.io.locks import try_lock
from galaxy_da.service.jobs import process
from galaxy_da.service.jobs.verbs import JobRequest

_WAIT_SECONDS = 30
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    verb TEXT NOT NULL,
    options TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',
    cancelling INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    done INTEGER,
    total INTEGER,
    step TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    created TEXT NOT NULL,
    changed TEXT NOT NULL
)
"""


class State(StrEnum):
    """State of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (State.DONE, State.FAILED, State.CANCELLED)
"""Final states."""


class Progress(BaseModel):
    """Items done in the current step of a job; null before the first count."""

    model_config = ConfigDict(frozen=True)

    done: int | None
    total: int | None
    step: str


class JobSummary(BaseModel):
    """Job as its owner sees it."""

    model_config = ConfigDict(frozen=True)

    id: str
    verb: str
    options: dict[str, Any]
    state: State
    progress: Progress
    message: str
    created: str
    changed: str


class Job(JobSummary):
    """Entry of one job in the queue."""

    owner: str
    options: Json[dict[str, Any]]
    cancelling: bool
    crashes: int


class JobQueue:
    """Jobs of a folder, created if missing; StorageError if it cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = ensure_folder(folder)
        self._execute("PRAGMA journal_mode = WAL")
        self._execute(_SCHEMA)

    def path(self, job_id: str) -> Path:
        """Return the folder of a job."""
        return self.folder / job_id

    def submit(
        self,
        owner: str,
        request: JobRequest,
        files: Mapping[str, IO[bytes]],
        check: Callable[[str, Path], object],
    ) -> str:
        """Queue a job with its uploaded files by name, synced to disk; return its id.

        `check` is called with the name and path of each file, and may raise an error. An error or a
        kill before the end leaves no job. StorageError or OSError if the disk is full.
        """
        job_id = self.new_id()
        folder = ensure_folder(self.path(job_id))
        lock = try_lock(folder / process.LOCK)  # keeps the runner from removing the folder
        assert lock is not None
        try:
            upload = ensure_folder(folder / process.UPLOAD)
            for name, file in files.items():
                path = upload / f"{name}{'.toml' if name == 'survey' else ''}"
                with path.open("wb") as sink:
                    shutil.copyfileobj(file, sink)
                    sink.flush()
                    os.fsync(sink.fileno())
                check(name, path)
            write_json(folder / process.REQUEST, request.model_dump(mode="json"))
            for written in (upload, folder, self.folder):
                sync(written)
            self.add(job_id, owner, request.verb, request.options)
        except BaseException:
            if self.get(job_id) is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            os.close(lock)
        return job_id

    @staticmethod
    def new_id() -> str:
        """Return a new id that nobody can guess."""
        return uuid.uuid4().hex

    def add(self, job_id: str, owner: str, verb: str, options: dict[str, Any]) -> None:
        """Queue a job whose folder is complete; it is on disk on return."""
        now = _now()
        self._execute(
            "INSERT INTO jobs (id, owner, verb, options, created, changed) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            *(job_id, owner, verb, json.dumps(options), now, now),
        )

    def get(self, job_id: str, owner: str | None = None) -> Job | None:
        """Return a job; None if it does not exist or has another owner."""
        jobs = self._select("WHERE id = ?", job_id)
        return next((job for job in jobs if owner in (None, job.owner)), None)

    def jobs_of(self, owner: str) -> list[Job]:
        """Return the jobs of one owner, latest first."""
        return self._select("WHERE owner = ? ORDER BY number DESC LIMIT 1000", owner)

    def in_state(self, state: State) -> list[Job]:
        """Return the jobs in a state, oldest first."""
        return self._select("WHERE state = ? ORDER BY number", state)

    def counts(self) -> dict[State, int]:
        """Return the number of jobs in each state."""
        rows, _ = self._execute("SELECT state, COUNT(*) FROM jobs GROUP BY state")
        return dict.fromkeys(State, 0) | {State(state): count for state, count in rows}

    def ids(self) -> set[str]:
        """Return the ids of all jobs."""
        return {row["id"] for row in self._execute("SELECT id FROM jobs")[0]}

    def move(
        self, job_id: str, before: State, after: State, message: str = "", crashes: int = 0
    ) -> bool:
        """Change the state of a job and add to its crashes, in one step.

        It returns false, and changes nothing, if the state is not `before`.
        """
        _, changed = self._execute(
            "UPDATE jobs SET state = ?, message = ?, changed = ?, crashes = crashes + ? "
            "WHERE id = ? AND state = ?",
            *(after, message, _now(), crashes, job_id, before),
        )
        return changed == 1

    def cancel(self, job_id: str) -> None:
        """Cancel a queued job at once; mark a running one for the runner to interrupt."""
        if not self.move(job_id, State.QUEUED, State.CANCELLED):
            self._execute("UPDATE jobs SET cancelling = 1 WHERE id = ?", job_id)

    def set_progress(self, job_id: str, progress: Progress) -> None:
        """Store the progress of a job."""
        values = (progress.done, progress.total, progress.step, job_id)
        self._execute("UPDATE jobs SET done = ?, total = ?, step = ? WHERE id = ?", *values)

    def remove(self, job_id: str) -> None:
        """Remove an ended job and its files."""
        self._execute("DELETE FROM jobs WHERE id = ?", job_id)
        shutil.rmtree(self.path(job_id), ignore_errors=True)

    def _select(self, condition: str, *values: str) -> list[Job]:
        rows, _ = self._execute(f"SELECT * FROM jobs {condition}", *values)
        return [Job(**row, progress=Progress(**row)) for row in map(dict, rows)]

    def _execute(self, sql: str, *values: str | int | None) -> tuple[list[sqlite3.Row], int]:
        """Run one statement in a transaction; return its rows, and the number of those changed."""
        try:
            with closing(sqlite3.connect(self.folder / "jobs.sqlite", _WAIT_SECONDS)) as database:
                database.row_factory = sqlite3.Row
                database.execute("PRAGMA synchronous = FULL")
                with database:
                    cursor = database.execute(sql, values)
                    return cursor.fetchall(), cursor.rowcount
        except sqlite3.Error as error:
            raise StorageError(
                f"{self.folder}: the queue of jobs cannot be used ({error}); is the disk full?"
            ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
