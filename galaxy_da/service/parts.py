"""What the routes work with: the parts the app was made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from galaxy_da.index import LatentIndex
from galaxy_da.latent_map import LatentMap
from galaxy_da.service.cutouts import CutoutSource
from galaxy_da.service.limits import Limits
from galaxy_da.space import LatentSpace

__all__ = ["Parts", "Service"]


@dataclass(frozen=True, kw_only=True)
class Service:
    """The parts of one app."""

    space: LatentSpace
    index: LatentIndex
    cutouts: CutoutSource | None
    drawn: LatentMap
    limits: Limits


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Parts = Annotated[Service, Depends(_service)]
"""Parameter of a route: the app's parts."""
