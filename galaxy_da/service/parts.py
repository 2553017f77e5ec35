"""Parts of the application that the routes share, and the options it is created with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from galaxy_da.index.latent_map import LatentMap, draw_map
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.batches import encoding_batcher, neighbour_batcher
from galaxy_da.service.executor import Workers
from galaxy_da.service.jobs.queue import JobQueue
from galaxy_da.service.limits import Limits
from galaxy_da.service.pictures import SampleCutouts
from galaxy_da.service.telemetry import Metrics
from galaxy_da.service.tokens import Tokens
from galaxy_da.space import LatentSpace

__all__ = ["JobSettings", "Owner", "Parts", "Service", "ServiceOptions"]

_BEARER = HTTPBearer(
    auto_error=False, description="Required if the service was started with a token file."
)


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """Queue of the jobs, and the space they use: a name or an absolute path."""

    queue: JobQueue
    space: str


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """Optional parts of a service.

    Attributes
    ----------
    cutouts, jobs : optional
        Pixels of the objects, and queue of jobs; without them the service has neither.
    latent_map : LatentMap, optional
        Positions of the objects in the plane; by default their principal components.
    tokens : Tokens, optional
        Tokens that may upload and start jobs; without them everybody may.
    hosts : tuple of str
        Accepted host names, without port; empty accepts any.
    """

    cutouts: SampleCutouts | None = None
    latent_map: LatentMap | None = None
    jobs: JobSettings | None = None
    tokens: Tokens | None = None
    limits: Limits = field(default_factory=Limits)
    hosts: tuple[str, ...] = ()


class Service:
    """Parts of one running application, made from its space, index and options."""

    def __init__(self, space: LatentSpace, index: LatentIndex, options: ServiceOptions) -> None:
        self.space, self.index, self.limits = space, index, options.limits
        self.cutouts, self.jobs, self.tokens = options.cutouts, options.jobs, options.tokens
        self.latent_map = options.latent_map or draw_map(index, "pca")
        self.metrics = Metrics()
        self.metrics.objects.set(len(index))
        limits, batches = options.limits, self.metrics.batches
        self.workers = Workers(limits.threads, limits.waiting_requests, limits.request_seconds)
        self.encoder = encoding_batcher(space, limits, batches.labels("encode").observe)
        self.neighbours = neighbour_batcher(index, limits, batches.labels("similar").observe)

    def close(self) -> None:
        """Drop the waiting work; let running work end."""
        self.workers.close()
        self.encoder.close()
        self.neighbours.close()


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Parts = Annotated[Service, Depends(_service)]
"""Parameter of a route: the parts of the application."""


async def _owner(
    request: Request,
    service: Parts,
    _for_the_schema: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> str:
    if service.tokens is None:
        return ""
    return service.tokens.owner(request.headers.get("authorization"))


Owner = Annotated[str, Depends(_owner)]
"""Parameter of a route that needs a token: the name of the token's owner."""
