"""Put a job on disk: what came, what is asked, and then its place in the queue."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from galaxy_da.io.files import ensure_folder, write_json
from galaxy_da.service.jobs import process
from galaxy_da.service.jobs.queue import JobQueue
from galaxy_da.service.jobs.runner import hold
from galaxy_da.service.jobs.unpacking import check_kind
from galaxy_da.service.limits import Limits

__all__ = ["store"]


def store(
    queue: JobQueue,
    owner: str,
    verb: str,
    options: Mapping[str, Any],
    files: Mapping[str, IO[bytes]],
    *,
    space: str,
    limits: Limits,
) -> str:
    """Queue a job, synced to disk. What fails or is killed before the end leaves no job.

    Parameters
    ----------
    queue : JobQueue
    owner : str
        Whose it is.
    verb, options
        As `galaxy_da.service.jobs.verbs` has them.
    files : mapping of str to binary file
        What the verb takes.
    space : str
        Latent space: a name, or an absolute path.
    limits : Limits
        Of what may be sent.

    Returns
    -------
    str
        Id of the job.

    Raises
    ------
    RequestError
        If a file is of another kind, or holds too much.
    StorageError, OSError
        If the disk is full.
    """
    job_id = queue.new_id()
    folder = ensure_folder(queue.path(job_id))
    lock = hold(folder / process.LOCK)  # nobody sweeps it meanwhile
    assert lock is not None
    try:
        upload = ensure_folder(folder / process.UPLOAD)
        for name, file in files.items():
            path = upload / f"{name}{'.toml' if name == 'survey' else ''}"
            with path.open("wb") as sink:
                shutil.copyfileobj(file, sink)
                sink.flush()
                os.fsync(sink.fileno())
            check_kind(name, path, limits)
        request = {"verb": verb, "options": options, "space": space, "limits": limits.model_dump()}
        write_json(folder / process.REQUEST, request)
        for place in (upload, folder, queue.folder):
            _sync(place)
        queue.add(job_id, owner, verb, dict(options))
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
