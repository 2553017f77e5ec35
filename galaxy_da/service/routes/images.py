"""Routes that return pictures of galaxies as PNG."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.drawing import draw_cutout, draw_prepared, to_png
from galaxy_da.queries.interpolation import draw_strip
from galaxy_da.queries.rows import all_latents
from galaxy_da.service.errors import error_responses, report_bad_arguments
from galaxy_da.service.holdings import Holdings
from galaxy_da.service.lanes import quick
from galaxy_da.service.parts import Parts
from galaxy_da.service.routes.parameters import Key
from galaxy_da.service.uploads.forms import JsonBody, json_schema, parse_json

router = APIRouter(prefix="/api", tags=["images"])

_PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}, "description": "PNG picture, north up."}
}
_DECODED = _PNG | error_responses(422)
_DRAWN = _PNG | error_responses(404, 422)
_CACHED = {"Cache-Control": "private, max-age=3600"}

Id = Annotated[Key, Query()]
Size = Annotated[int | None, Query(ge=8, le=1024, description="Longer side of the picture [px].")]
Steps = Annotated[int, Query(ge=2, le=64, description="Number of pictures side by side.")]
Latents = Annotated[
    list[Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]], Field(max_length=4096)
]


class Points(BaseModel):
    """Points of the latent space."""

    model_config = ConfigDict(extra="forbid")

    latents: list[Latents] = Field(
        min_length=1,
        max_length=64,
        description="Latents of each point: the galaxy latents, then the nuisance latents.",
    )


@router.get("/images/cutout.png", responses=_DRAWN, response_class=Response)
@quick
def cutout(service: Parts, id: Id, size: Size = None) -> Response:
    """Draw the cutout of an object as its survey took it."""
    pixels, survey = _read_cutout(service, id)
    return _png(draw_cutout(pixels, service.space.survey(survey), service.space.frame), size)


@router.get("/images/prepared.png", responses=_DRAWN, response_class=Response)
@quick
def prepared_image(service: Parts, id: Id, size: Size = None) -> Response:
    """Draw the cutout of an object as prepared for the network, in the anchor's frame."""
    pixels, survey = _read_cutout(service, id)
    encoder = service.space.encoder(service.space.survey(survey), pixels.bands)
    return _png(draw_prepared(pixels, encoder.survey, encoder.bands, service.space.frame), size)


@router.get("/images/reconstruction.png", responses=_DRAWN, response_class=Response)
@quick
def reconstruction(service: Parts, id: Id, size: Size = None) -> Response:
    """Draw an object as the anchor's decoder reconstructs it, which removes noise."""
    latents = all_latents(service.index, np.array([service.index.row(id)]))
    return _png(draw_strip(service.space, latents), size)


@router.post(
    "/decode", responses=_DECODED, response_class=Response, openapi_extra=json_schema(Points)
)
@quick
def decode(service: Parts, body: JsonBody) -> Response:
    """Decode points of the latent space, drawn side by side."""
    points = parse_json(Points, body)
    with report_bad_arguments():
        return _png(draw_strip(service.space, np.array(points.latents, np.float32)))


@router.get("/interpolate/along.png", responses=_DRAWN, response_class=Response)
@quick
def along(
    service: Parts,
    id: Id,
    latent: Annotated[int, Query(ge=0, description="Number of the latent, from 0.")],
    steps: Steps = 9,
    reach: Annotated[
        float,
        Query(ge=-100, le=100, description="Largest change [standard deviations of the latent]."),
    ] = 3.0,
) -> Response:
    """Decode an object while one of its latents changes."""
    with report_bad_arguments():
        return _png(draw_strip(service.space, service.index.along(id, latent, steps, reach)))


@router.get("/interpolate/between.png", responses=_DRAWN, response_class=Response)
@quick
def between(
    service: Parts, first: Annotated[Key, Query()], last: Annotated[Key, Query()], steps: Steps = 9
) -> Response:
    """Decode points on the line between two objects."""
    with report_bad_arguments():
        return _png(draw_strip(service.space, service.index.between(first, last, steps)))


def _read_cutout(service: Holdings, key: str) -> tuple[Cutout, str]:
    """Return the cutout of an object, and its survey."""
    row = service.index.row(key)
    survey, object_id = (str(service.index.rows[name][row]) for name in ("survey", "object_id"))
    if service.cutouts is None:
        raise CutoutError(
            f"{key}: this service has no cutouts; start it with --sample and the sample table"
        )
    return service.cutouts.cutout(survey, object_id), survey


def _png(picture: np.ndarray, size: int | None = None) -> Response:
    return Response(to_png(picture, size), media_type="image/png", headers=_CACHED)
