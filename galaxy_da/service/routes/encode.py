"""Routes that take an image of the client's own."""

from __future__ import annotations

import base64
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.drawing import draw_cutout, draw_prepared, to_png
from galaxy_da.io.samples import Flag
from galaxy_da.service.batches import EncodedImage, PreparedImage, prepare_upload
from galaxy_da.service.errors import RequestError, error_responses, report_bad_arguments
from galaxy_da.service.holdings import Holdings
from galaxy_da.service.lanes import slow, upload
from galaxy_da.service.parts import Owner, Parts, Service
from galaxy_da.service.routes.parameters import Accept, Count, FilteredQuery, SurveyName
from galaxy_da.service.tables import TABLE_RESPONSES, table_response
from galaxy_da.service.uploads.forms import form_schema, read_file, read_form, validation_error
from galaxy_da.service.uploads.images import find_survey, read_upload
from galaxy_da.surveys import Survey

router = APIRouter(prefix="/api", tags=["uploads"])

_ERRORS = error_responses(401, 404, 415, 422)


class ImageForm(BaseModel):
    """Form fields that describe an image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    survey: str = Field(max_length=100, description="Survey that took the image.")
    stretch: str | None = Field(
        None, max_length=100, description="Stretch of a colour picture, if not the archive's own."
    )
    pixel_scale_arcsec: float | None = Field(
        None,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Pixel scale [arcsec] of an image without WCS; by default the survey's.",
    )


class EncodeForm(ImageForm):
    """Form fields of an image to encode."""

    draw: bool = Field(False, description="Also return pictures of the image.")


class SimilarImageForm(ImageForm, FilteredQuery):
    """Form fields of a search by image."""

    k: Count = 10
    in_survey: SurveyName = None


_PICTURE_PX = 320

F = TypeVar("F", bound=ImageForm)


class EncodeAnswer(BaseModel):
    """Latents of an image; empty if `status` is not `ok`, and `message` gives the reason."""

    latents: list[float]
    variance: list[float]
    flags: int
    reconstruction_error: float | None
    domain_reason: str | None = Field(
        None, description="Why the image lies outside the domain; null if it does not."
    )
    status: str
    message: str | None
    pictures: dict[str, str] | None = Field(
        None,
        description="Base64 PNG: `cutout`, the image as its survey took it, and `prepared`, as "
        "prepared for the network; null unless `draw` is true and the image can be used.",
    )


@router.post("/encode", responses=_ERRORS, openapi_extra=form_schema(EncodeForm, "file"))
async def encode(request: Request, service: Parts, owner: Owner) -> EncodeAnswer:
    """Encode a FITS, JPEG or PNG image into latents.

    The galaxy must be in the centre of the image.
    """
    fields, data = await _read(request, EncodeForm)
    prepared, encoded = await _encode(service, fields, data)
    status, message = prepared.problem or ("ok", None)
    drawn = fields.draw and encoded is not None
    return EncodeAnswer(
        latents=[] if encoded is None else encoded.mean.tolist(),
        variance=[] if encoded is None else encoded.variance.tolist(),
        flags=_flags(prepared, encoded),
        reconstruction_error=None if encoded is None else encoded.reconstruction_error,
        domain_reason=None if encoded is None else encoded.outside,
        status=status,
        message=message,
        pictures=await _draw(service=service, fields=fields, data=data) if drawn else None,
    )


@router.post(
    "/similar/image",
    responses=TABLE_RESPONSES | _ERRORS,
    response_class=Response,
    openapi_extra=form_schema(SimilarImageForm, "file"),
)
async def similar_to_image(
    request: Request, service: Parts, accept: Accept, owner: Owner
) -> Response:
    """Find the galaxies most similar to the one in a FITS, JPEG or PNG image.

    The galaxy must be in the centre of the image.
    """
    fields, data = await _read(request, SimilarImageForm)
    prepared, encoded = await _encode(service, fields, data)
    if encoded is None:
        assert prepared.problem is not None
        raise RequestError(422, f"the image cannot be used: {prepared.problem[1]}")
    told = {"flags": _flags(prepared, encoded), "domain_reason": encoded.outside}
    return await _similar_to_latents(
        service=service, accept=accept, fields=fields, latents=encoded.mean, told=told
    )


def _flags(prepared: PreparedImage, encoded: EncodedImage | None) -> int:
    outside = encoded is not None and encoded.outside is not None
    return prepared.flags | (Flag.OUT_OF_DOMAIN if outside else 0)


@slow
def _similar_to_latents(
    service: Holdings,
    accept: str,
    fields: SimilarImageForm,
    latents: np.ndarray,
    told: dict[str, Any],
) -> Response:
    vector = latents[: service.space.galaxy_latents]
    with report_bad_arguments():
        within = fields.subset()
        found = service.index.similar(vector, fields.k, fields.in_survey, within=within).table
    meta = {"latents": latents.tolist(), **told}
    return table_response(accept, found, fields.format, meta, "similar")


async def _read(request: Request, model: type[F]) -> tuple[F, bytes]:
    """Read the fields and the image of a form."""
    async with read_form(request) as form:
        values = {key: form.getlist(key) if key == "where" else form[key] for key in form}
        values.pop("file", None)
        try:
            fields = model.model_validate(values)
        except ValidationError as error:
            raise validation_error(error) from error
        return fields, await read_file(form, "file")


async def _encode(
    service: Service, fields: ImageForm, data: bytes
) -> tuple[PreparedImage, EncodedImage | None]:
    """Prepare an image, and encode it in a batch if it can be used."""
    given = ImageForm(**{name: getattr(fields, name) for name in ImageForm.model_fields})
    prepared = await _prepare(service=service, fields=given, data=data)
    return prepared, None if prepared.problem else await service.encoder.run(prepared)


def _read_cutout(service: Holdings, survey: Survey, fields: ImageForm, data: bytes) -> Cutout:
    limits, scale = service.limits, fields.pixel_scale_arcsec
    return read_upload(data, survey, limits, fields.stretch, scale)


@upload
def _prepare(service: Holdings, fields: ImageForm, data: bytes) -> PreparedImage:
    survey = find_survey(service.space, fields.survey)
    cutout = _read_cutout(service, survey, fields, data)
    return prepare_upload(cutout, survey, service.space)


@upload
def _draw(service: Holdings, fields: ImageForm, data: bytes) -> dict[str, str]:
    survey = find_survey(service.space, fields.survey)
    cutout = _read_cutout(service, survey, fields, data)
    drawn = {
        "cutout": draw_cutout(cutout, survey, service.space.frame),
        "prepared": draw_prepared(
            cutout,
            survey,
            service.space.encoder(survey, cutout.bands).bands,
            service.space.frame,
        ),
    }
    return {
        name: base64.b64encode(to_png(picture, _PICTURE_PX)).decode()
        for name, picture in drawn.items()
    }
