"""Routes that take an image or a table of the client's own."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_da.service.encoding import Encoded, Encoding, prepare_upload
from galaxy_da.service.errors import RequestError, asking, documented
from galaxy_da.service.forms import file_of, multipart, take_form
from galaxy_da.service.image_uploads import known_survey, read_upload
from galaxy_da.service.parameters import ConeText, read_cone
from galaxy_da.service.parquet_uploads import read_parquet
from galaxy_da.service.parts import Owner, Parts, Service
from galaxy_da.service.tables import TABLE_RESPONSES, Format, table_response

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["uploads"])

_PAIR_COLUMNS = (
    "anchor_id",
    "target_id",
    "separation_arcsec",
    "n_candidates",
    "ambiguous",
)
_ERRORS = documented(401, 404, 415, 422)


class Image(BaseModel):
    """What an image is of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    survey: str = Field(max_length=100, description="Survey the image is of.")
    unadapted: bool = Field(
        default=False, description="Use the anchor's network where the survey has none of its own."
    )


class SimilarImage(Image):
    """What to find for an image."""

    k: int = Field(default=10, ge=1, le=10_000)
    in_survey: str | None = Field(default=None, max_length=100)
    where: list[Annotated[str, Field(max_length=1024)]] = Field(default=[], max_length=32)
    cone: ConeText = None
    format: Format | None = None


class EncodeAnswer(BaseModel):
    """Latents of an image; empty where it cannot be used, which `status` and `message` explain."""

    latents: list[float]
    variance: list[float]
    flags: int
    reconstruction_error: float | None
    status: str
    message: str | None


@router.post(
    "/encode",
    response_model=EncodeAnswer,
    responses=_ERRORS,
    openapi_extra=multipart(Image, "file"),
)
async def encode(request: Request, service: Parts, owner: Owner) -> EncodeAnswer:
    """Encode a FITS, JPEG or PNG image whose galaxy is in the middle."""
    async with take_form(request) as form:
        asked = _fields(Image, form)
        waiting, encoded = await _encode(service, await file_of(form, "file"), asked)
    status, message = waiting.problem or ("ok", None)
    return EncodeAnswer(
        latents=[] if encoded is None else encoded.mean.tolist(),
        variance=[] if encoded is None else encoded.variance.tolist(),
        flags=waiting.flags,
        reconstruction_error=None if encoded is None else encoded.reconstruction_error,
        status=status,
        message=message,
    )


@router.post(
    "/similar/image",
    responses=TABLE_RESPONSES | _ERRORS,
    response_class=Response,
    openapi_extra=multipart(SimilarImage, "file"),
)
async def similar_to_image(request: Request, service: Parts, owner: Owner) -> Response:
    """Find the galaxies most like that of an image."""
    async with take_form(request) as form:
        asked = _fields(SimilarImage, form)
        waiting, encoded = await _encode(service, await file_of(form, "file"), asked)
    if encoded is None:
        assert waiting.problem is not None
        raise RequestError(422, f"the image cannot be used: {waiting.problem[1]}")
    return await service.workers.run(partial(_similar, request, service, asked, waiting, encoded))


@router.post(
    "/distances",
    responses=TABLE_RESPONSES | _ERRORS,
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
async def distances(
    request: Request,
    service: Parts,
    owner: Owner,
    anchor: Annotated[str, Query(max_length=100)],
    target: Annotated[str, Query(max_length=100)],
    prior: Annotated[float | None, Query(gt=0, lt=1)] = None,
    format: Format | None = None,
) -> Response:
    """Measure how far apart the two images of each pair of a table lie; the body is Parquet."""
    data = await request.body()

    def work() -> Response:
        pairs = read_parquet(data, _PAIR_COLUMNS)
        models = service.space.encoder(target).record if anchor == service.space.anchor else {}
        with asking():
            found = service.index.distances(
                _as_text(pairs),
                anchor=anchor,
                target=target,
                space=service.space if "match_probability" in models else None,
                prior=prior,
            )
        return table_response(request, found, format, name="distances")

    return await service.workers.run(work)


async def _encode(service: Service, data: bytes, asked: Image) -> tuple[Encoding, Encoded | None]:
    """Read and prepare an image in a thread, then encode it with those of other requests."""

    def prepare() -> Encoding:
        survey = known_survey(service.space, asked.survey)
        cutout = read_upload(data, survey, service.limits)
        return prepare_upload(cutout, survey, service.space, unadapted=asked.unadapted)

    waiting = await service.workers.run(prepare)
    return waiting, None if waiting.problem else await service.encoder.ask(waiting)


def _similar(
    request: Request, service: Service, asked: SimilarImage, waiting: Encoding, encoded: Encoded
) -> Response:
    with asking():
        found = service.index.similar(
            encoded.mean[: service.space.galaxy_latents],
            asked.k,
            asked.in_survey,
            where=asked.where,
            cone=read_cone(asked.cone),
        )
    meta = {"latents": np.asarray(encoded.mean, float).tolist(), "flags": waiting.flags}
    return table_response(request, found, asked.format, meta, "similar")


def _fields(kind: type[Any], form: Any) -> Any:
    """Read the fields of a form that are not its file."""
    names: dict[str, Any] = {
        key: form.getlist(key) if key == "where" else form[key] for key in form if key != "file"
    }
    try:
        return kind.model_validate(names)
    except ValidationError as error:
        problems = json.loads(error.json(include_url=False, include_input=False))
        text = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems)
        raise RequestError(422, text.replace("Value error, ", "")) from error


def _as_text(pairs: pa.Table) -> pa.Table:
    """Return pairs whose ids are plain strings."""
    for name in ("anchor_id", "target_id"):
        if name in pairs.column_names:
            place = pairs.column_names.index(name)
            pairs = pairs.set_column(place, name, pairs[name].cast(pa.string()))
    return pairs
