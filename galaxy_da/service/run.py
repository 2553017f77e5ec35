"""The running service: the app from files on disk, in one worker process or several."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import threading
import time
import webbrowser
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from galaxy_da.errors import GalaxyDAError
from galaxy_da.index.latent_map import read_map
from galaxy_da.io.storage import Location
from galaxy_da.io.tables import Sample
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.app import create_app
from galaxy_da.service.cutouts import SampleCutouts
from galaxy_da.service.jobs.queue import JobQueue
from galaxy_da.service.limits import Limits
from galaxy_da.service.parts import Jobs
from galaxy_da.service.protocol import BoundedProtocol
from galaxy_da.service.telemetry import log_json
from galaxy_da.service.tokens import Tokens
from galaxy_da.space import LatentSpace

__all__ = ["SERVER", "Settings", "app_of", "serve"]

_VARIABLE = "GALAXY_DA_SERVE"
_SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
_GRACE_SECONDS = 5
_MOST_CONNECTIONS = 1000
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
_BROWSE_TRIES, _BROWSE_SECONDS = 120, 0.5


SERVER: dict[str, Any] = {
    "http": BoundedProtocol,
    "ws": "none",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "limit_concurrency": _MOST_CONNECTIONS,
    "timeout_graceful_shutdown": _GRACE_SECONDS,
}
"""How uvicorn is run."""


class Settings(BaseModel):
    """What is served, and where.

    Attributes
    ----------
    index, samples, jobs, token_file : path
    space : str
        Name or folder.
    workers : int
        Processes; they share the index's mapped files and the queue of jobs.
    browse : bool
        Open the page in a browser.
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


def app_of(settings: Settings) -> FastAPI:
    """Make the app of files on disk.

    Raises
    ------
    GalaxyDAError
        If a file is missing or damaged, or the index is of another space.
    """
    space, index = LatentSpace.load(settings.space), LatentIndex.open(settings.index)
    jobs = None
    if settings.jobs is not None:
        own = Path(settings.space)
        named = str(own.resolve()) if own.is_dir() else settings.space
        jobs = Jobs(queue=JobQueue(settings.jobs.resolve()), space=named)
    samples = [Sample(path) for path in settings.samples]
    return create_app(
        space,
        index,
        SampleCutouts(samples, space) if samples else None,
        drawn=read_map(settings.index, index),
        jobs=jobs,
        tokens=None if settings.token_file is None else Tokens(settings.token_file),
        limits=settings.limits,
        hosts=_LOOPBACK if settings.host in _LOOPBACK else (),
    )


def serve(settings: Settings) -> None:
    """Serve until a signal ends it: SIGINT or SIGTERM, after the open requests are answered.

    Raises
    ------
    GalaxyDAError
        As `app_of`, or if others than this machine could write without a token.
    """
    if settings.host not in _LOOPBACK and settings.token_file is None:
        raise GalaxyDAError(
            f"--host {settings.host} lets other machines in; give --token-file so that not all of "
            "them may start jobs (`galaxy-da token NAME --file FILE` makes one)"
        )
    app = app_of(settings)
    several = settings.workers > 1
    if several:
        os.environ[_VARIABLE] = settings.model_dump_json()
        os.environ[_SHARED_METRICS] = tempfile.mkdtemp(prefix="galaxy-da-metrics-")
    log_json()
    if settings.browse:
        threading.Thread(target=_browse, args=(settings,), daemon=True).start()
    uvicorn.run(
        f"{__name__}:_worker_app" if several else app,
        factory=several,
        workers=settings.workers,
        host=settings.host.strip("[]"),
        port=settings.port,
        **SERVER,
    )


def _browse(settings: Settings) -> None:
    """Open the page once it is there."""
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
    """Make the app of a worker process, which does not outlive the one that started it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    log_json()
    return app_of(Settings.model_validate_json(os.environ[_VARIABLE]))
