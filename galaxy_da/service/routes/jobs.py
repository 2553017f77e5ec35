"""Routes of jobs: submit, follow, cancel, download results."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile

from galaxy_da.service.errors import RequestError, error_responses
from galaxy_da.service.holdings import Holdings
from galaxy_da.service.jobs import process
from galaxy_da.service.jobs.queue import ENDED, Job, JobQueue, JobSummary, State
from galaxy_da.service.jobs.verbs import VERBS, JobRequest
from galaxy_da.service.parts import JobSettings, Owner, Parts, Service
from galaxy_da.service.uploads.forms import form_schema, read_form, validation_error
from galaxy_da.service.uploads.samples import check_kind

router = APIRouter(prefix="/api/jobs", tags=["jobs"])

_POLL_SECONDS = 0.3
_COMMENT_SECONDS = 15.0
_RETRY = {"Retry-After": "60"}
_ERRORS = error_responses(401, 404, 422)

ResultName = Annotated[str, Path(max_length=200, description="Name of the result.")]
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Id of the job.")]


class JobForm(BaseModel):
    """Form fields of a job; each file is a further field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verb: Literal["extract", "adapt"]
    options: str = Field("{}", max_length=10_000, description="Options of the verb, a JSON object.")


class Accepted(BaseModel):
    """Id of a queued job."""

    id: str


class Result(BaseModel):
    """Result file of a job."""

    name: str
    bytes: int


class JobAnswer(JobSummary):
    """State, progress and results of a job."""

    results: list[Result]


def _jobs(service: Service) -> JobSettings:
    if service.jobs is None:
        raise RequestError(404, "this service accepts no jobs; start it with --jobs FOLDER")
    return service.jobs


async def _queue(service: Parts, owner: Owner) -> JobQueue:
    """Return the queue; `owner` makes FastAPI check the token first."""
    return _jobs(service).queue


Queue = Annotated[JobQueue, Depends(_queue)]


def _own_job(queue: Queue, owner: Owner, job_id: JobId) -> Job:
    job = queue.get(job_id, owner)
    if job is None:
        raise RequestError(404, f"no job {job_id}")
    return job


OwnJob = Annotated[Job, Depends(_own_job)]


def _content(media: str, description: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media: {}}, "description": description}} | _ERRORS


@router.post(
    "",
    status_code=202,
    response_model=Accepted,
    responses=error_responses(401, 404, 415, 422, 429, 507),
    openapi_extra=form_schema(JobForm, optional=("sample", "anchor", "target", "pairs", "survey")),
)
async def submit_job(request: Request, service: Parts, owner: Owner) -> Accepted:
    """Submit a job.

    `extract` needs the file `sample`; `adapt` needs `anchor` and `target`, and may have `pairs`. A
    sample is a zip of `sample.parquet` and its images, or a Parquet table with embedded images.
    `survey` is the TOML definition of a survey that is not built in.
    """
    jobs = _jobs(service)
    if jobs.queue.counts()[State.QUEUED] >= service.limits.waiting_jobs:
        raise RequestError(429, "too many jobs are waiting", _RETRY)
    async with read_form(request) as form:
        verb, options, files = _read(form)
        job = JobRequest(verb=verb, options=options, space=jobs.space, limits=service.limits)
        contents = {name: file.file for name, file in files.items()}
        check = partial(_check_in_process, service, asyncio.get_running_loop())
        job_id = await asyncio.to_thread(jobs.queue.submit, owner, job, contents, check)
    return Accepted(id=job_id)


@router.get("", response_model=list[JobAnswer], responses=error_responses(401, 404))
def list_jobs(queue: Queue, owner: Owner) -> list[JobAnswer]:
    """List the client's jobs, latest first."""
    return [_answer(queue, job) for job in queue.jobs_of(owner)]


@router.get("/{job_id}", response_model=JobAnswer, responses=_ERRORS)
def job_status(queue: Queue, job: OwnJob) -> JobAnswer:
    """Return the state, progress and results of a job."""
    return _answer(queue, job)


@router.delete("/{job_id}", status_code=204, responses=_ERRORS)
def cancel(queue: Queue, job: OwnJob) -> None:
    """Cancel a waiting or running job; remove an ended job and its files."""
    if job.state in ENDED:
        queue.remove(job.id)
    else:
        queue.cancel(job.id)


@router.get(
    "/{job_id}/events",
    responses=_content("text/event-stream", "Events `progress` and `state`."),
    response_class=StreamingResponse,
)
async def events(queue: Queue, job: OwnJob) -> StreamingResponse:
    """Stream an event for each change of a job, until it ends."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(queue, job.id), 200, headers, "text/event-stream")


@router.get("/{job_id}/log", responses=_content("text/plain", "Log."), response_class=FileResponse)
def log(queue: Queue, job: OwnJob) -> FileResponse:
    """Return the log of a job."""
    return _file(queue.path(job.id) / process.LOG, "text/plain; charset=utf-8")


@router.get(
    "/{job_id}/results/{name}",
    responses=_content("application/octet-stream", "File."),
    response_class=FileResponse,
)
def result(queue: Queue, job: OwnJob, name: ResultName) -> FileResponse:
    """Download a result of a finished job."""
    names = [item.name for item in _results(queue, job)]
    if name not in names:
        raise RequestError(404, f"no result {name!r}; there are {', '.join(names) or 'none yet'}")
    return _file(queue.path(job.id) / process.RESULTS / name, "application/octet-stream")


def check_upload(service: Holdings, name: str, path: FilePath) -> None:
    """Refuse a file of a job that is of the wrong kind or too large."""
    check_kind(name, path, service.limits)


def _check_in_process(
    service: Service, loop: asyncio.AbstractEventLoop, name: str, path: FilePath
) -> None:
    """Check a file where the check can be stopped: a zip may list millions of members."""
    checked = service.uploads.ask(__name__, check_upload.__name__, name=name, path=path)
    asyncio.run_coroutine_threadsafe(checked, loop).result()


def _answer(queue: JobQueue, job: Job) -> JobAnswer:
    return JobAnswer(**job.model_dump(), results=_results(queue, job))


def _results(queue: JobQueue, job: Job) -> list[Result]:
    if job.state is not State.DONE:
        return []
    folder = queue.path(job.id) / process.RESULTS
    return [Result(name=path.name, bytes=path.stat().st_size) for path in sorted(folder.iterdir())]


def _file(path: FilePath, media: str) -> FileResponse:
    if not path.is_file():
        raise RequestError(404, "the file does not exist yet")
    return FileResponse(path, media_type=media, filename=path.name)


def _read(form: FormData) -> tuple[str, dict[str, Any], dict[str, UploadFile]]:
    """Return the verb, options and files of a form, checked against the verb's definition."""
    files = {name: item for name, item in form.items() if isinstance(item, UploadFile)}
    try:
        fields = JobForm.model_validate({k: v for k, v in form.items() if k not in files})
        verb = VERBS[fields.verb]
        options = verb.model_validate_json(fields.options)
    except ValidationError as error:
        raise validation_error(error) from error
    allowed = {*verb.samples, *verb.optional}
    if not set(verb.samples) <= files.keys() <= allowed:
        raise RequestError(
            422,
            f"{fields.verb} takes the files {', '.join(sorted(allowed))}, "
            f"of which {', '.join(verb.samples)} are required; the form has {sorted(files)}",
        )
    return fields.verb, options.model_dump(mode="json"), files


async def _events(queue: JobQueue, job_id: str) -> AsyncIterator[str]:
    sent: dict[str, Any] = {}
    last_sent = time.monotonic()
    while (job := await asyncio.to_thread(queue.get, job_id)) is not None:
        state = {"state": job.state, "message": job.message}
        for name, value in {"progress": job.progress.model_dump(), "state": state}.items():
            if sent.get(name) != value:
                yield f"event: {name}\ndata: {json.dumps(value)}\n\n"
                sent[name], last_sent = value, time.monotonic()
        if job.state in ENDED:
            return
        if time.monotonic() - last_sent > _COMMENT_SECONDS:
            yield ": keep the connection open\n\n"
            last_sent = time.monotonic()
        await asyncio.sleep(_POLL_SECONDS)
