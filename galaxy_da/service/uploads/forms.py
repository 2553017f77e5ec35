"""Multipart forms, read by a route only after it has checked the client's token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile

from galaxy_da.service.errors import RequestError, join_problems
from galaxy_da.service.tables import BINARY

__all__ = ["form_schema", "read_file", "read_form", "validation_error"]

_MAX_FILES = 5
_MAX_FIELDS = 64
_FIELD_BYTES = 1 << 16


@asynccontextmanager
async def read_form(request: Request) -> AsyncIterator[FormData]:
    """Read a form (415 if it is none); its temporary files are removed when the block ends."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
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
    schema = fields.model_json_schema()
    schema["properties"] |= dict.fromkeys((*files, *optional), BINARY)
    schema["required"] = [*schema.get("required", []), *files]
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}
