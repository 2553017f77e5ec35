"""Routes of jobs: give one, follow it, stop it, take its results."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile

from galaxy_da.service.errors import RequestError, documented
from galaxy_da.service.forms import multipart, take_form
from galaxy_da.service.jobs import process
from galaxy_da.service.jobs.queue import ENDED, Job, JobQueue, Progress, State
from galaxy_da.service.jobs.submission import store
from galaxy_da.service.jobs.verbs import VERBS, Verb
from galaxy_da.service.parts import Jobs, Owner, Parts, Service

__all__ = ["router"]

router = APIRouter(prefix="/api/jobs", tags=["jobs"])

_POLL_SECONDS = 0.3
_COMMENT_SECONDS = 15.0
_RETRY = {"Retry-After": "60"}

JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


class Given(BaseModel):
    """What to do; the files are fields of their own, named as the verb's options are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verb: Literal["extract", "adapt"]
    options: str = Field(default="{}", max_length=10_000, description="JSON object.")


class Accepted(BaseModel):
    """A job that was queued."""

    id: str


class Result(BaseModel):
    """A file to take."""

    name: str
    bytes: int


class JobAnswer(BaseModel):
    """A job."""

    id: str
    verb: str
    options: dict[str, Any]
    state: State
    progress: Progress
    message: str
    created: str
    changed: str
    results: list[Result]


@router.post(
    "",
    status_code=202,
    response_model=Accepted,
    responses=documented(401, 404, 415, 422, 429, 507),
    openapi_extra=multipart(Given, optional=("sample", "anchor", "target", "pairs", "survey")),
)
async def give(request: Request, service: Parts, owner: Owner) -> Accepted:
    """Queue a job.

    `extract` takes `sample`; `adapt` takes `anchor`, `target` and, if there are any, `pairs`. A
    sample is a zip of `sample.parquet` with its images, or a Parquet table that holds them.
    `survey` is a TOML definition of a survey that is not built in.
    """
    jobs = _jobs(service)
    if jobs.queue.counts()[State.QUEUED] >= service.limits.waiting_jobs:
        raise RequestError(429, "too many jobs are waiting", _RETRY)
    async with take_form(request) as form:
        verb, options, files = _read(form)
        job_id = await asyncio.to_thread(
            store,
            jobs.queue,
            owner,
            verb,
            options,
            {name: file.file for name, file in files.items()},
            space=jobs.space,
            limits=service.limits,
        )
    return Accepted(id=job_id)


@router.get("", response_model=list[JobAnswer], responses=documented(401, 404))
def every(service: Parts, owner: Owner) -> list[JobAnswer]:
    """List one's jobs, the latest first."""
    queue = _queue(service)
    return [_answer(queue, job) for job in queue.of(owner)]


@router.get("/{job_id}", response_model=JobAnswer, responses=documented(401, 404, 422))
def one(service: Parts, owner: Owner, job_id: JobId) -> JobAnswer:
    """Say how far a job is."""
    queue = _queue(service)
    return _answer(queue, _job(queue, job_id, owner))


@router.delete("/{job_id}", status_code=204, responses=documented(401, 404, 422))
def cancel(service: Parts, owner: Owner, job_id: JobId) -> None:
    """Cancel a job that waits or runs; remove one that has ended, with its files."""
    queue = _queue(service)
    job = _job(queue, job_id, owner)
    if job.state in ENDED:
        queue.forget(job_id)
    else:
        queue.cancel(job_id)


@router.get(
    "/{job_id}/events",
    responses={
        200: {
            "content": {"text/event-stream": {}},
            "description": "Events `progress` and `state`.",
        },
        **documented(401, 404, 422),
    },
    response_class=StreamingResponse,
)
async def events(service: Parts, owner: Owner, job_id: JobId) -> StreamingResponse:
    """Follow a job: an event for each change, until it has ended."""
    queue = _queue(service)
    await asyncio.to_thread(_job, queue, job_id, owner)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(queue, job_id), media_type="text/event-stream", headers=headers
    )


@router.get(
    "/{job_id}/log",
    responses={
        200: {"content": {"text/plain": {}}, "description": "What the verbs wrote."},
        **documented(401, 404, 422),
    },
    response_class=FileResponse,
)
def log(service: Parts, owner: Owner, job_id: JobId) -> FileResponse:
    """Return what the job's verbs wrote on stderr."""
    queue = _queue(service)
    _job(queue, job_id, owner)
    return _file(queue.path(job_id) / process.LOG, "text/plain; charset=utf-8")


@router.get(
    "/{job_id}/results/{name}",
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The file."},
        **documented(401, 404, 422),
    },
    response_class=FileResponse,
)
def result(
    service: Parts, owner: Owner, job_id: JobId, name: Annotated[str, Path(max_length=200)]
) -> FileResponse:
    """Take a result of a job that is done."""
    queue = _queue(service)
    job = _job(queue, job_id, owner)
    names = [found.name for found in _results(queue, job)]
    if name not in names:
        raise RequestError(404, f"no result {name!r}; there are {', '.join(names) or 'none yet'}")
    return _file(queue.path(job_id) / process.RESULTS / name, "application/octet-stream")


def _jobs(service: Service) -> Jobs:
    if service.jobs is None:
        raise RequestError(404, "this service takes no jobs; start it with --jobs FOLDER")
    return service.jobs


def _queue(service: Service) -> JobQueue:
    return _jobs(service).queue


def _job(queue: JobQueue, job_id: str, owner: str) -> Job:
    job = queue.get(job_id, owner)
    if job is None:
        raise RequestError(404, f"no job {job_id}")
    return job


def _answer(queue: JobQueue, job: Job) -> JobAnswer:
    return JobAnswer(**job.model_dump(), results=_results(queue, job))


def _results(queue: JobQueue, job: Job) -> list[Result]:
    if job.state is not State.DONE:
        return []
    folder = queue.path(job.id) / process.RESULTS
    return [Result(name=path.name, bytes=path.stat().st_size) for path in sorted(folder.iterdir())]


def _file(path: FilePath, media: str) -> FileResponse:
    if not path.is_file():
        raise RequestError(404, "there is no such file yet")
    return FileResponse(path, media_type=media, filename=path.name)


def _read(form: FormData) -> tuple[str, dict[str, Any], dict[str, UploadFile]]:
    """Take verb, options and files from a form, and hold them to what the verb takes."""
    files = {name: item for name, item in form.items() if isinstance(item, UploadFile)}
    try:
        given = Given.model_validate({k: v for k, v in form.items() if k not in files})
        verb: Verb = VERBS[given.verb]
        options = verb.options.model_validate_json(given.options)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors())
        raise RequestError(422, "; ".join(problems)) from error
    lacking = [name for name in verb.samples if name not in files]
    known = {*verb.samples, *verb.optional}
    if lacking or not files.keys() <= known:
        raise RequestError(
            422, f"{given.verb} takes the files {', '.join(sorted(known))}; came {sorted(files)}"
        )
    return given.verb, options.model_dump(mode="json"), files


async def _events(queue: JobQueue, job_id: str) -> AsyncIterator[str]:
    seen: dict[str, Any] = {}
    said = time.monotonic()
    while True:
        job = await asyncio.to_thread(queue.get, job_id)
        if job is None:
            return
        now = {
            "progress": job.progress.model_dump(),
            "state": {"state": job.state, "message": job.message},
        }
        for name, value in now.items():
            if seen.get(name) != value:
                yield f"event: {name}\ndata: {json.dumps(value)}\n\n"
                said = time.monotonic()
        seen = now
        if job.state in ENDED:
            return
        if time.monotonic() - said > _COMMENT_SECONDS:
            yield ": still here\n\n"
            said = time.monotonic()
        await asyncio.sleep(_POLL_SECONDS)
