"""The running service: the application made from files on disk, in one or several processes."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import threading
import time
import webbrowser
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from uvicorn.supervisors.multiprocess import Process

from galaxy_da.errors import GalaxyDAError
from galaxy_da.images.drawing import SampleCutouts
from galaxy_da.index.latent_map import read_map
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import Location
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.app import create_app
from galaxy_da.service.jobs.queue import JobQueue
from galaxy_da.service.limits import Limits
from galaxy_da.service.middleware import BoundedProtocol
from galaxy_da.service.parts import JobSettings, ServiceOptions
from galaxy_da.service.telemetry import SHARED_FOLDER, log_json
from galaxy_da.service.tokens import Tokens
from galaxy_da.space import LatentSpace

_SETTINGS_VARIABLE = "GALAXY_DA_SERVE"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
_BROWSE_TRIES, _BROWSE_SECONDS = 120, 0.5

UVICORN_OPTIONS: dict[str, Any] = {
    "http": BoundedProtocol,
    "ws": "none",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "limit_concurrency": 1000,  # connections
    "timeout_graceful_shutdown": 5,  # seconds
    "timeout_worker_healthcheck": 120,  # seconds, since on a busy machine a start takes long
}
"""Options that uvicorn runs with."""


class Settings(BaseModel):
    """Files to serve, and the address to serve them at.

    `space` is a name or a folder. The `workers` are processes that share the index's mapped files
    and the job queue. `browse` opens the page in a browser.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: Location
    space: str
    samples: tuple[Location, ...] = ()
    jobs: Path | None = None
    token_file: Path | None = None
    limits: Limits = Limits()
    host: str = "127.0.0.1"
    port: int = 8765
    workers: int = 1
    browse: bool = False


def load_app(settings: Settings) -> FastAPI:
    """Create the application from files on disk; GalaxyDAError if they are missing or invalid."""
    space, index = LatentSpace.load(settings.space), LatentIndex.open(settings.index)
    jobs = None
    if settings.jobs is not None:
        folder = Path(settings.space)
        name = str(folder.resolve()) if folder.is_dir() else settings.space
        jobs = JobSettings(queue=JobQueue(settings.jobs.resolve()), space=name)
    samples = [Sample(path) for path in settings.samples]
    options = ServiceOptions(
        cutouts=SampleCutouts(samples, space.survey) if samples else None,
        latent_map=read_map(settings.index, index),
        jobs=jobs,
        tokens=None if settings.token_file is None else Tokens(settings.token_file),
        limits=settings.limits,
        hosts=_LOOPBACK if settings.host in _LOOPBACK else (),
    )
    return create_app(space, index, options)


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; open requests are answered first.

    GalaxyDAError if a file cannot be used, or if other machines could write without a token.
    """
    if settings.host not in _LOOPBACK and settings.token_file is None:
        raise GalaxyDAError(
            f"--host {settings.host} opens the service to other machines; give --token-file, so "
            "that only token holders may upload and start jobs "
            "(`galaxy-da token NAME --file FILE` makes one)"
        )
    app = load_app(settings)
    several = settings.workers > 1
    if several:
        os.environ[_SETTINGS_VARIABLE] = settings.model_dump_json()
        os.environ[SHARED_FOLDER] = tempfile.mkdtemp(prefix="galaxy-da-metrics-")
        Process.ping = _answers  # type: ignore[method-assign, assignment]
    log_json()
    if settings.browse:
        threading.Thread(target=_open_browser, args=(settings,), daemon=True).start()
    uvicorn.run(
        f"{__name__}:_worker_app" if several else app,
        factory=several,
        workers=settings.workers,
        host=settings.host.strip("[]"),
        port=settings.port,
        **UVICORN_OPTIONS,
    )


def _answers(worker: Process, timeout: float = 5) -> bool:
    """Return True if a worker answers in time, and False as soon as it has died.

    uvicorn's own `ping` waits its whole time for a worker that is killed while it starts.
    """
    try:
        worker.parent_conn.send(b"ping")
        ready = wait([worker.parent_conn, worker.process.sentinel], timeout)
        if worker.parent_conn not in ready:
            return False
        worker.parent_conn.recv_bytes()
    except (OSError, EOFError):
        return False
    return True


def _open_browser(settings: Settings) -> None:
    """Open the page as soon as the service answers."""
    url = f"http://127.0.0.1:{settings.port}/"
    for _ in range(_BROWSE_TRIES):
        time.sleep(_BROWSE_SECONDS)
        try:
            httpx.get(f"{url}healthz")
        except httpx.HTTPError:
            continue
        webbrowser.open(url)
        return


def _worker_app() -> FastAPI:
    """Create the application of a worker process, which ends with its parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    log_json()
    return load_app(Settings.model_validate_json(os.environ[_SETTINGS_VARIABLE]))
