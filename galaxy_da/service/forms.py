"""Multipart forms, read by the route itself: after it knows that the client may send one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile

from galaxy_da.service.errors import RequestError

__all__ = ["file_of", "multipart", "take_form"]

_MOST_FILES = 5
_MOST_FIELDS = 64
_FIELD_BYTES = 1 << 16


@asynccontextmanager
async def take_form(request: Request) -> AsyncIterator[FormData]:
    """Read a form; its files are gone when the block ends.

    Raises
    ------
    RequestError
        With status 415 if the body is something else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise RequestError(415, f"expected multipart/form-data, not {kind or 'an unnamed type'}")
    async with request.form(
        max_files=_MOST_FILES, max_fields=_MOST_FIELDS, max_part_size=_FIELD_BYTES
    ) as form:
        yield form


async def file_of(form: FormData, name: str) -> bytes:
    """Return what is in a form's file.

    Raises
    ------
    RequestError
        With status 422 if there is none of that name.
    """
    file = form.get(name)
    if not isinstance(file, UploadFile):
        raise RequestError(422, f"{name}: a file is missing")
    return await file.read()


def multipart(
    fields: type[BaseModel], *files: str, optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Describe a form for the OpenAPI entry of a route that reads it itself."""
    schema = fields.model_json_schema()
    binary = {"type": "string", "format": "binary"}
    schema["properties"] |= dict.fromkeys((*files, *optional), binary)
    schema["required"] = [*schema.get("required", []), *files]
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}
