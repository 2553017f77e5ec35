"""Routes for monitoring."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from galaxy_da.errors import StorageError
from galaxy_da.service.errors import RequestError
from galaxy_da.service.parts import Parts

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """Health of the service."""

    status: str


@router.get("/healthz")
async def alive() -> Health:
    """Check that the process answers."""
    return Health(status="ok")


@router.get("/readyz")
async def ready(service: Parts) -> Health:
    """Check that the service can take requests; status 503 if the job queue fails."""
    if service.jobs is not None:
        try:
            await asyncio.to_thread(service.jobs.queue.counts)
        except StorageError as error:
            raise RequestError(503, str(error)) from error
    return Health(status="ok")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus metrics."}},
)
def metrics(service: Parts) -> Response:
    """Return the metrics in the Prometheus text format."""
    if service.jobs is not None:
        for state, count in service.jobs.queue.counts().items():
            service.metrics.jobs.labels(state).set(count)
    text, media = service.metrics.exposition()
    return Response(text, media_type=media)
