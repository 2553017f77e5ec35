"""The app, made of the parts it is handed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline

from galaxy_da.index.latent_map import LatentMap, draw_map
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.cutouts import CutoutSource
from galaxy_da.service.encoding import encoding_batcher
from galaxy_da.service.errors import add_error_handlers, documented
from galaxy_da.service.executor import Workers
from galaxy_da.service.jobs.runner import JobRunner
from galaxy_da.service.limits import Limits
from galaxy_da.service.middleware import Gate
from galaxy_da.service.neighbours import neighbour_batcher
from galaxy_da.service.parts import Jobs, Service
from galaxy_da.service.routes import conesearch, encode, health, images, maps, objects, queries
from galaxy_da.service.routes import jobs as job_routes
from galaxy_da.service.telemetry import Metrics
from galaxy_da.service.tokens import Tokens
from galaxy_da.space import LatentSpace

__all__ = ["create_app"]

_PAGE = Path(__file__).resolve().parents[1] / "page"
_ROUTES = (objects, queries, encode, images, maps, job_routes, conesearch, health)
_ANYWHERE = documented(400, 403, 408, 413, 431, 503, 504)


def create_app(
    space: LatentSpace,
    index: LatentIndex,
    cutouts: CutoutSource | None = None,
    *,
    drawn: LatentMap | None = None,
    jobs: Jobs | None = None,
    tokens: Tokens | None = None,
    limits: Limits | None = None,
    hosts: Sequence[str] = (),
) -> FastAPI:
    """Make the service's app.

    Parameters
    ----------
    space : LatentSpace
        Encodes and decodes.
    index : LatentIndex
        Built with that space.
    cutouts : CutoutSource, optional
        Gives the objects' own pixels.
    drawn : LatentMap, optional
        Where the objects lie in the plane; by default their principal components.
    jobs : Jobs, optional
        Where jobs are queued; none are taken without.
    tokens : Tokens, optional
        Who may write, or ask for what costs; everybody without.
    limits : Limits, optional
        How much is taken and given.
    hosts : sequence of str
        Names it is reached by, without port; any by default.

    Returns
    -------
    FastAPI

    Raises
    ------
    LatentIndexError
        If the index is of another space.
    """
    index.check_space(space.id)
    limits, metrics = limits or Limits(), Metrics()
    metrics.objects.set(len(index))
    service = Service(
        space=space,
        index=index,
        cutouts=cutouts,
        drawn=drawn or draw_map(index, "pca"),
        jobs=jobs,
        tokens=tokens,
        limits=limits,
        metrics=metrics,
        workers=Workers(limits.threads, limits.waiting, limits.seconds),
        encoder=encoding_batcher(space, limits, metrics.batches.labels("encode").observe),
        neighbours=neighbour_batcher(index, limits, metrics.batches.labels("similar").observe),
    )
    app = FastAPIOffline(
        favicon_url="/page/icon.svg",
        redoc_url=None,  # shows a picture from the network
        title="galaxy_da",
        summary="Galaxies of many surveys in one latent space.",
        version=version("galaxy_da"),
        responses=_ANYWHERE,
        lifespan=_lifespan,
    )
    app.state.service = service
    add_error_handlers(app)
    app.add_middleware(Gate, limits=limits, metrics=metrics, hosts=hosts)
    for part in _ROUTES:
        app.include_router(part.router)
    app.get("/", include_in_schema=False)(_page)
    app.mount("/page", StaticFiles(directory=_PAGE, check_dir=False), name="page")
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    runner = None
    if service.jobs is not None:
        runner = JobRunner(service.jobs.queue, service.limits.running_jobs)
        runner.start()
    try:
        yield
    finally:
        if runner is not None:
            await asyncio.to_thread(runner.stop)
        service.workers.close()
        service.encoder.close()
        service.neighbours.close()


def _page() -> FileResponse:
    return FileResponse(_PAGE / "index.html")
