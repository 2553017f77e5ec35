"""Submission of a job: its files and its request are written to disk, then it is queued."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from galaxy_da.io.files import ensure_folder, write_json
from galaxy_da.service.jobs import process
from galaxy_da.service.jobs.queue import JobQueue
from galaxy_da.service.jobs.runner import try_lock
from galaxy_da.service.jobs.verbs import JobRequest
from galaxy_da.service.uploads.samples import check_kind

__all__ = ["submit"]


def submit(queue: JobQueue, owner: str, request: JobRequest, files: Mapping[str, IO[bytes]]) -> str:
    """Queue a job with its uploaded files by name, synced to disk; return its id.

    An error or a kill before the end leaves no job. RequestError if a file is of the wrong kind or
    too large; StorageError or OSError if the disk is full.
    """
    job_id = queue.new_id()
    folder = ensure_folder(queue.path(job_id))
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
            check_kind(name, path, request.limits)
        write_json(folder / process.REQUEST, request.model_dump(mode="json"))
        for synced in (upload, folder, queue.folder):
            _sync(synced)
        queue.add(job_id, owner, request.verb, request.options)
    except BaseException:
        if queue.get(job_id) is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        os.close(lock)
    return job_id


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
