"""The FastAPI application, made from a space, an index and optional parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline

from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.errors import ERROR_HANDLERS, error_responses
from galaxy_da.service.jobs.runner import JobRunner
from galaxy_da.service.middleware import Gate
from galaxy_da.service.parts import Service, ServiceOptions
from galaxy_da.service.routes import conesearch, encode, health, images, maps, objects, queries
from galaxy_da.service.routes import jobs as job_routes
from galaxy_da.service.watching import watch
from galaxy_da.space import LatentSpace

_PAGE = Path(__file__).resolve().parents[1] / "page"
_ROUTES = (queries, health, objects, encode, images, maps, job_routes, conesearch)
_ERRORS_OF_EVERY_ROUTE = error_responses(400, 403, 408, 413, 431, 503, 504)


def create_app(
    space: LatentSpace, index: LatentIndex, options: ServiceOptions | None = None
) -> FastAPI:
    """Create the application: ``uvicorn.run(create_app(space, index))``.

    Parameters
    ----------
    space : LatentSpace
        Latent space that encodes and decodes.
    index : LatentIndex
        Index built with that space; LatentIndexError if another space built it.
    options : ServiceOptions, optional
        Cutouts, map, jobs, tokens, limits and host names.
    """
    index.check_space(space.id)
    options = options or ServiceOptions()
    service = Service(space, index, options)
    app = FastAPIOffline(
        favicon_url="/page/icon.svg",
        redoc_url=None,  # loads a picture from the network
        title="galaxy_da",
        summary="Galaxies of many surveys in one latent space.",
        version=version("galaxy_da"),
        responses=_ERRORS_OF_EVERY_ROUTE,
        exception_handlers=ERROR_HANDLERS,
        lifespan=_lifespan,
    )
    app.state.service = service
    app.add_middleware(Gate, limits=service.limits, metrics=service.metrics, hosts=options.hosts)
    for module in _ROUTES:
        app.include_router(module.router)
    app.get("/", include_in_schema=False)(_page)
    app.mount("/page", StaticFiles(directory=_PAGE, check_dir=False), name="page")
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    limits, runner = service.limits, None
    if service.jobs is not None:
        runner = JobRunner(service.jobs.queue, limits.running_jobs, limits.job_seconds)
        runner.start()
    watcher = asyncio.create_task(watch(service))
    starting = asyncio.create_task(asyncio.to_thread(service.start))
    try:
        yield
    finally:
        for task in (watcher, starting):
            task.cancel()
        if runner is not None:
            await asyncio.to_thread(runner.stop)
        service.close()


def _page() -> FileResponse:
    return FileResponse(_PAGE / "index.html")
