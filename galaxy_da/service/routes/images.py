"""Routes that draw galaxies."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import Cutout
from galaxy_da.queries.interpolation import draw_strip
from galaxy_da.service.errors import asking, documented
from galaxy_da.service.executor import worked
from galaxy_da.service.parameters import Key
from galaxy_da.service.parts import Parts, Service
from galaxy_da.service.pictures import encoder_for, latents_of, own_colours, prepared, to_png

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["images"])

_PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}, "description": "A picture, north up."}
}
_DECODED = _PNG | documented(422)
_DRAWN = _PNG | documented(404, 422)
_CACHED = {"Cache-Control": "private, max-age=3600"}

Id = Annotated[Key, Query()]
Size = Annotated[int | None, Query(ge=8, le=1024, description="Of the longer side [px].")]
Steps = Annotated[int, Query(ge=2, le=64)]
Latents = list[Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]]


class Points(BaseModel):
    """Points of the space, side by side in the picture."""

    model_config = ConfigDict(extra="forbid")

    latents: list[Latents] = Field(min_length=1, max_length=64)


@router.get("/images/cutout.png", responses=_DRAWN, response_class=Response)
@worked
def cutout(service: Parts, id: Id, size: Size = None) -> Response:
    """Draw an object's own cutout."""
    found, survey = _cutout(service, id)
    return _png(own_colours(found, service.space.survey(survey), service.space), size)


@router.get("/images/prepared.png", responses=_DRAWN, response_class=Response)
@worked
def as_prepared(service: Parts, id: Id, size: Size = None) -> Response:
    """Draw an object as the network sees it, in the anchor's frame."""
    found, survey = _cutout(service, id)
    encoder = encoder_for(service.space, service.space.survey(survey), found)
    return _png(prepared(found, encoder, service.space), size)


@router.get(
    "/images/reconstruction.png",
    responses=_DRAWN,
    response_class=Response,
)
@worked
def reconstruction(service: Parts, id: Id, size: Size = None) -> Response:
    """Draw what the anchor's decoder makes of an object: of another survey, its denoised view."""
    latents = latents_of(service.index, np.array([service.index.row(id)]))
    return _png(draw_strip(service.space, latents), size)


@router.post("/decode", responses=_DECODED, response_class=Response)
@worked
def decode(service: Parts, points: Annotated[Points, Body()]) -> Response:
    """Draw points of the space, side by side."""
    with asking():
        return _png(draw_strip(service.space, np.array(points.latents, np.float32)), None)


@router.get("/interpolate/along.png", responses=_DRAWN, response_class=Response)
@worked
def along(
    service: Parts,
    id: Id,
    latent: Annotated[int, Query(ge=0)],
    steps: Steps = 9,
    reach: Annotated[float, Query(ge=-100, le=100)] = 3.0,
) -> Response:
    """Draw an object while one of its latents changes."""
    with asking():
        return _png(draw_strip(service.space, service.index.along(id, latent, steps, reach)), None)


@router.get("/interpolate/between.png", responses=_DRAWN, response_class=Response)
@worked
def between(
    service: Parts, first: Annotated[Key, Query()], last: Annotated[Key, Query()], steps: Steps = 9
) -> Response:
    """Draw what lies between two objects."""
    with asking():
        return _png(draw_strip(service.space, service.index.between(first, last, steps)), None)


def _cutout(service: Service, key: str) -> tuple[Cutout, str]:
    row = service.index.row(key)
    survey, object_id = (str(service.index.rows[name][row]) for name in ("survey", "object_id"))
    if service.cutouts is None:
        raise CutoutError(
            f"{key}: this service has no cutouts; start it with --sample and the sample table"
        )
    return service.cutouts.cutout(survey, object_id), survey


def _png(picture: np.ndarray, size: int | None) -> Response:
    return Response(to_png(picture, size), media_type="image/png", headers=_CACHED)
