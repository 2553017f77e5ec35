"""Parts of the application that the routes share, and the options it is created with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from galaxy_da.images.drawing import SampleCutouts
from galaxy_da.index.latent_map import LatentMap, draw_map
from galaxy_da.latent_index import LatentIndex
from galaxy_da.service.batches import encoding_batcher, neighbour_batcher
from galaxy_da.service.holdings import Holdings
from galaxy_da.service.jobs.queue import JobQueue
from galaxy_da.service.lanes import Crew, Forker, Lane
from galaxy_da.service.limits import Limits
from galaxy_da.service.telemetry import Metrics
from galaxy_da.service.tokens import Tokens
from galaxy_da.service.worker import BACKGROUND_NICE
from galaxy_da.space import LatentSpace

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


_QUICK_NICE, _UPLOAD_NICE, _SLOW_NICE = 5, BACKGROUND_NICE, BACKGROUND_NICE + 5
"""Niceness of the processes that answer questions; the service itself comes first."""


class Service(Holdings):
    """Parts of one running application, made from its space, index and options.

    Only an object's columns, the search for its neighbours and the description of the service are
    computed in this process; `quick`, `slow` and `uploads` do everything else in processes of
    their own.
    """

    def __init__(self, space: LatentSpace, index: LatentIndex, options: ServiceOptions) -> None:
        limits, drawn = options.limits, options.latent_map or draw_map(index, "pca")
        super().__init__(space, index, limits, options.cutouts, drawn)
        self.jobs, self.tokens = options.jobs, options.tokens
        self.metrics = Metrics()
        self.metrics.objects.set(len(index))
        waiting, seconds = limits.waiting_requests, limits.request_seconds
        self._forker = Forker(Holdings(space, index, limits, options.cutouts, drawn))
        levels = (_QUICK_NICE, _QUICK_NICE, _SLOW_NICE, _UPLOAD_NICE)
        self._crews = [Crew(self._forker, nice) for nice in levels]
        encoding, quick, slow, uploads = self._crews
        self.quick = Lane(quick, limits.quick_processes, waiting, seconds)
        self.slow = Lane(slow, limits.slow_processes, waiting, seconds)
        self.uploads = Lane(uploads, limits.upload_processes, waiting, limits.upload_seconds)
        observe = self.metrics.batches
        self.encoder = encoding_batcher(encoding, limits, observe.labels("encode").observe)
        self.neighbours = neighbour_batcher(
            lambda: self.index, limits, observe.labels("similar").observe
        )

    def start(self) -> None:
        """Wait until questions can be answered."""
        self._forker.wait()

    def replace_index(self, index: LatentIndex, latent_map: LatentMap | None) -> Callable[[], None]:
        """Prepare to answer from another index of the same space; return the step that does.

        Questions that are being answered end with the index that they began with.
        """
        index.check_space(self.space.id)
        drawn = latent_map or draw_map(index, "pca")
        held = Holdings(self.space, index, self.limits, self.cutouts, drawn)
        forker = Forker(held)
        forker.wait()

        def replace() -> None:
            before, self._forker = self._forker, forker
            self.index, self.latent_map = index, drawn
            self.metrics.objects.set(len(index))
            for crew in self._crews:
                crew.renew(forker)
            before.close()

        return replace

    def close(self) -> None:
        """Drop the waiting work; let running work end."""
        for part in (self.encoder, self.neighbours, self.quick, self.slow, self.uploads):
            part.close()
        for crew in self._crews:
            crew.renew(self._forker)
        self._forker.close()


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
