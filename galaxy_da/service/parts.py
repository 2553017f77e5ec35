"""What the routes work with: the parts the app was made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pyarrow as pa
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from galaxy_da.index.latent_map import LatentMap
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.cutouts import CutoutSource
from galaxy_da.service.encoding import Encoded, Encoding
from galaxy_da.service.executor import Batcher, Workers
from galaxy_da.service.jobs.queue import JobQueue
from galaxy_da.service.limits import Limits
from galaxy_da.service.neighbours import Neighbours
from galaxy_da.service.telemetry import Metrics
from galaxy_da.service.tokens import Tokens
from galaxy_da.space import LatentSpace

__all__ = ["Jobs", "Owner", "Parts", "Service"]

_BEARER = HTTPBearer(auto_error=False, description="Needed where the service has a token file.")


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Where jobs are queued, and the space they are given: a name or an absolute path."""

    queue: JobQueue
    space: str


@dataclass(frozen=True, kw_only=True)
class Service:
    """The parts of one app."""

    space: LatentSpace
    index: LatentIndex
    cutouts: CutoutSource | None
    drawn: LatentMap
    jobs: Jobs | None
    tokens: Tokens | None
    limits: Limits
    metrics: Metrics
    workers: Workers
    encoder: Batcher[Encoding, Encoded]
    neighbours: Batcher[Neighbours, pa.Table]


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Parts = Annotated[Service, Depends(_service)]
"""Parameter of a route: the app's parts."""


async def _owner(
    request: Request,
    service: Parts,
    _shown: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> str:
    if service.tokens is None:
        return ""
    return service.tokens.owner(request.headers.get("authorization"))


Owner = Annotated[str, Depends(_owner)]
"""Parameter of a route that writes or costs: whose token the request carries."""
