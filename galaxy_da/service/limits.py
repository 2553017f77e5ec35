"""Limits of the service: on one request, and on all requests and jobs together."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_da.errors import TableError

__all__ = ["Limits", "load_limits"]

_MIB = 1 << 20


class Limits(BaseModel):
    """Limits of the service, all greater than zero.

    Attributes
    ----------
    rows : int
        Rows of an answer that has no `k`.
    body_bytes, table_bytes, image_bytes, job_bytes : int
        Size of a body: JSON, a pair table, an image, the files of a job.
    image_side, image_pixels : int
        Longest side of an image [px], and pixels in all its planes.
    unpacked_bytes, unpacked_files : int
        Size and number of the files in a job's zip.
    job_memory_bytes : int
        Memory that a job may allocate.
    running_jobs, waiting_jobs : int
        Jobs that run at once, and jobs in the queue.
    threads, waiting_requests : int
        Requests that one process computes at once, and requests that wait.
    batch_size : int
        Images or neighbour searches computed together.
    request_seconds : float
        Time from a request to its answer [s].
    idle_seconds : float
        Pause of a client that sends or reads [s].
    head_bytes : int
        Size of the request line and headers together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(default=10_000, gt=0)
    body_bytes: int = Field(default=_MIB, gt=0)
    table_bytes: int = Field(default=64 * _MIB, gt=0)
    image_bytes: int = Field(default=32 * _MIB, gt=0)
    job_bytes: int = Field(default=1024 * _MIB, gt=0)
    image_side: int = Field(default=2048, gt=0)
    image_pixels: int = Field(default=1 << 24, gt=0)
    unpacked_bytes: int = Field(default=4096 * _MIB, gt=0)
    unpacked_files: int = Field(default=100_000, gt=0)
    job_memory_bytes: int = Field(default=8192 * _MIB, gt=0)
    running_jobs: int = Field(default=1, gt=0)
    waiting_jobs: int = Field(default=100, gt=0)
    threads: int = Field(default=4, gt=0)
    waiting_requests: int = Field(default=256, gt=0)
    batch_size: int = Field(default=64, gt=0)
    request_seconds: float = Field(default=60, gt=0)
    idle_seconds: float = Field(default=30, gt=0)
    head_bytes: int = Field(default=32_768, gt=0)


def load_limits(path: Path | None) -> Limits:
    """Read limits from a TOML file; None gives the defaults.

    Raises
    ------
    TableError
        If the file cannot be read, has an unknown name, or a value is out of range.
    """
    if path is None:
        return Limits()
    try:
        return Limits.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise TableError(f"{path}: not a TOML file of limits ({error})") from error
