"""How much one request may ask for, and how much all may hold together."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_da.errors import TableError

__all__ = ["Limits", "load_limits"]

_MIB = 1 << 20


class Limits(BaseModel):
    """Bounds on what is asked for and held.

    Attributes
    ----------
    rows : int
        Most rows of an answer that has no `k`.
    body_bytes, table_bytes, image_bytes, job_bytes : int
        Largest body: of JSON, of a pair table, of an image, of a job's files.
    image_side, image_pixels : int
        Longest side of an image, and most pixels of all its planes.
    unpacked_bytes, unpacked_files : int
        What a job's files may become.
    job_memory_bytes : int
        What a job may allocate.
    running_jobs, waiting_jobs : int
        Jobs at once, and most that may be queued.
    threads, waiting : int
        Requests worked on at once by a process, and most that wait for their turn.
    batch : int
        Most images or neighbour searches computed together.
    seconds : float
        Longest that a request may wait for its answer [s].
    idle_seconds : float
        Longest pause of a client that sends or reads [s].
    head_bytes : int
        Largest request line and headers together.
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
    waiting: int = Field(default=256, gt=0)
    batch: int = Field(default=64, gt=0)
    seconds: float = Field(default=60, gt=0)
    idle_seconds: float = Field(default=30, gt=0)
    head_bytes: int = Field(default=32_768, gt=0)


def load_limits(path: Path | None) -> Limits:
    """Read limits from a TOML file, the defaults where there is none.

    Raises
    ------
    TableError
        If it cannot be read, or names or sizes something else.
    """
    if path is None:
        return Limits()
    try:
        return Limits.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise TableError(f"{path}: is no TOML file of limits ({error})") from error
