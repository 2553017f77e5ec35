"""Routes that take an image of the client's own."""

from __future__ import annotations

from typing import TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from galaxy_da.service.batches import EncodedImage, PreparedImage, prepare_upload
from galaxy_da.service.errors import RequestError, error_responses, report_bad_arguments
from galaxy_da.service.parts import Owner, Parts, Service
from galaxy_da.service.routes.parameters import Count, FilteredQuery, SurveyName
from galaxy_da.service.tables import TABLE_RESPONSES, table_response
from galaxy_da.service.uploads.forms import form_schema, read_file, read_form, validation_error
from galaxy_da.service.uploads.images import find_survey, read_upload

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["uploads"])

_ERRORS = error_responses(401, 404, 415, 422)


class ImageForm(BaseModel):
    """Form fields that describe an image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    survey: str = Field(max_length=100, description="Survey that took the image.")
    stretch: str | None = Field(
        None, max_length=100, description="Stretch of a colour picture, if not the archive's own."
    )


class SimilarImageForm(ImageForm, FilteredQuery):
    """Form fields of a search by image."""

    k: Count = 10
    in_survey: SurveyName = None


F = TypeVar("F", bound=ImageForm)


class EncodeAnswer(BaseModel):
    """Latents of an image; empty if `status` is not `ok`, and `message` gives the reason."""

    latents: list[float]
    variance: list[float]
    flags: int
    reconstruction_error: float | None
    status: str
    message: str | None


@router.post("/encode", responses=_ERRORS, openapi_extra=form_schema(ImageForm, "file"))
async def encode(request: Request, service: Parts, owner: Owner) -> EncodeAnswer:
    """Encode a FITS, JPEG or PNG image into latents.

    The galaxy must be in the centre of the image.
    """
    _, prepared, encoded = await _encode(request, service, ImageForm)
    status, message = prepared.problem or ("ok", None)
    return EncodeAnswer(
        latents=[] if encoded is None else encoded.mean.tolist(),
        variance=[] if encoded is None else encoded.variance.tolist(),
        flags=prepared.flags,
        reconstruction_error=None if encoded is None else encoded.reconstruction_error,
        status=status,
        message=message,
    )


@router.post(
    "/similar/image",
    responses=TABLE_RESPONSES | _ERRORS,
    response_class=Response,
    openapi_extra=form_schema(SimilarImageForm, "file"),
)
async def similar_to_image(request: Request, service: Parts, owner: Owner) -> Response:
    """Find the galaxies most similar to the one in a FITS, JPEG or PNG image.

    The galaxy must be in the centre of the image.
    """
    fields, prepared, encoded = await _encode(request, service, SimilarImageForm)
    if encoded is None:
        assert prepared.problem is not None
        raise RequestError(422, f"the image cannot be used: {prepared.problem[1]}")
    vector = encoded.mean[: service.space.galaxy_latents]
    meta = {"latents": encoded.mean.tolist(), "flags": prepared.flags}

    def work() -> Response:
        with report_bad_arguments():
            within = fields.subset()
            found = service.index.similar(vector, fields.k, fields.in_survey, within=within)
        return table_response(request, found, fields.format, meta, "similar")

    return await service.workers.run(work)


async def _encode(
    request: Request, service: Service, model: type[F]
) -> tuple[F, PreparedImage, EncodedImage | None]:
    """Read a form, prepare its image in a thread, and encode it in a batch if it can be used."""
    async with read_form(request) as form:
        values = {key: form.getlist(key) if key == "where" else form[key] for key in form}
        values.pop("file", None)
        try:
            fields = model.model_validate(values)
        except ValidationError as error:
            raise validation_error(error) from error
        data = await read_file(form, "file")

    def prepare() -> PreparedImage:
        survey = find_survey(service.space, fields.survey)
        cutout = read_upload(data, survey, service.limits, fields.stretch)
        return prepare_upload(cutout, survey, service.space)

    prepared = await service.workers.run(prepare)
    return fields, prepared, None if prepared.problem else await service.encoder.run(prepared)
