"""Bodies of requests: JSON, and forms, read by a route after it has checked the client's token.

A JSON body is validated in the process that answers, since a large one takes long.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile

from galaxy_da.service.errors import RequestError, join_problems
from galaxy_da.service.tables import BINARY

M = TypeVar("M", bound=BaseModel)

_MAX_FILES = 5
_MAX_FIELDS = 64
_FIELD_BYTES = 1 << 16


async def _json_body(request: Request) -> bytes:
    kind = _kind(request)
    if kind != "application/json":
        raise RequestError(422, f"body: expected application/json, not {kind or 'no type'}")
    return await request.body()


JsonBody = Annotated[bytes, Depends(_json_body)]
"""Parameter of a route: a JSON body, for `parse_json`."""


def parse_json(model: type[M], body: bytes) -> M:
    """Validate a JSON body; RequestError 422 if a value is invalid."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise validation_error(error) from error


@asynccontextmanager
async def read_form(request: Request) -> AsyncIterator[FormData]:
    """Read a form (415 if it is none); its temporary files are removed when the block ends."""
    kind = _kind(request)
    if kind != "multipart/form-data":
        raise RequestError(415, f"expected multipart/form-data, not {kind or 'an unnamed type'}")
    async with request.form(
        max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_FIELD_BYTES
    ) as form:
        yield form


async def read_file(form: FormData, name: str) -> bytes:
    """Return the content of a file of a form; 422 if the form has no file of that name."""
    file = form.get(name)
    if not isinstance(file, UploadFile):
        raise RequestError(422, f"{name}: a file is missing")
    return await file.read()


def validation_error(error: ValidationError) -> RequestError:
    """Return the one-line error, status 422, for invalid fields of a form."""
    return RequestError(422, join_problems(error.errors(include_url=False, include_input=False)))


def form_schema(
    fields: type[BaseModel], *files: str, optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the OpenAPI description of a form with some files."""
    schema = _schema(fields)
    schema["properties"] |= dict.fromkeys((*files, *optional), BINARY)
    schema["required"] = [*schema.get("required", []), *files]
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI description of a JSON body."""
    content = {"application/json": {"schema": _schema(model)}}
    return {"requestBody": {"required": True, "content": content}}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a model with its definitions in place of references."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def inlined(value: Any) -> Any:
        if isinstance(value, list):
            return [inlined(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            name = value["$ref"].rpartition("/")[2]
            value = {**definitions[name], **{k: v for k, v in value.items() if k != "$ref"}}
        return {key: inlined(item) for key, item in value.items()}

    found: dict[str, Any] = inlined(schema)
    return found


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
