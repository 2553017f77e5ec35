"""Limits of the service: on one request, and on all requests and jobs together."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError

from galaxy_da.errors import TableError

_MIB = 1 << 20


class Limits(BaseModel):
    """Limits of the service: of one request, one process, and all jobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: PositiveInt = 10_000  # rows of an answer that has no `k`
    body_bytes: PositiveInt = _MIB  # a JSON body
    table_bytes: PositiveInt = 64 * _MIB  # a pair table
    image_bytes: PositiveInt = 32 * _MIB  # an image file
    job_bytes: PositiveInt = 1024 * _MIB  # all files of a job
    image_side: PositiveInt = 2048  # longest side of an image [px]
    image_pixels: PositiveInt = 1 << 24  # pixels in all planes of an image
    unpacked_bytes: PositiveInt = 4096 * _MIB  # files in a job's zip
    unpacked_files: PositiveInt = 100_000  # likewise, their number
    job_memory_bytes: PositiveInt = 8192 * _MIB  # memory that a job may allocate
    running_jobs: PositiveInt = 1  # jobs at once
    waiting_jobs: PositiveInt = 100  # jobs in the queue
    job_seconds: PositiveFloat = 86_400  # time from the start of a job to its end
    quick_processes: PositiveInt = 2  # questions of bounded cost answered at once
    slow_processes: PositiveInt = 2  # questions whose cost grows with the index
    upload_processes: PositiveInt = 2  # uploaded files checked and read at once
    question_memory_bytes: PositiveInt = 4096 * _MIB  # memory that a question may allocate
    waiting_requests: PositiveInt = 256  # requests that wait; a quarter of them for one client
    batch_size: PositiveInt = 64  # images or searches computed together
    request_seconds: PositiveFloat = 60  # time from a request to its answer
    upload_seconds: PositiveFloat = 20  # likewise, to check and read an uploaded file
    idle_seconds: PositiveFloat = 30  # pause of a client that sends or reads
    head_bytes: PositiveInt = 32_768  # request line and headers together


def load_limits(path: Path | None) -> Limits:
    """Read limits from a TOML file, TableError if it is invalid; None gives the defaults."""
    if path is None:
        return Limits()
    try:
        return Limits.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise TableError(f"{path}: not a TOML file of limits ({error})") from error


def is_out_of_memory(error: Exception) -> bool:
    """Test if an error says that memory ran out; libraries of C++ raise errors of other classes."""
    told = ("allocate memory", "bad_alloc", "launch worker thread", "start new thread")
    return isinstance(error, MemoryError) or any(words in str(error) for words in told)
