"""Errors of the service: one JSON object for each, with the right HTTP status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from galaxy_da.errors import (
    CatalogError,
    CutoutError,
    GalaxyDAError,
    LatentIndexError,
    SpaceError,
    StorageError,
    SurveyError,
    TableError,
)

_STATUS: dict[type[GalaxyDAError], int] = {
    LatentIndexError: 404,
    SpaceError: 404,
    CutoutError: 404,
    SurveyError: 422,
    TableError: 422,
    CatalogError: 422,
    StorageError: 507,
}
"""HTTP status of each kind of error; 404 if the request names something that does not exist."""

_MEANING = {
    400: "The request cannot be read.",
    401: "A valid token is required.",
    403: "The token may not do this, or the request came from another site.",
    404: "The object, column, survey, job or file does not exist.",
    408: "The client stopped sending the body.",
    413: "The body, image or table is too large.",
    415: "The service does not read this kind of file.",
    422: "A value is invalid.",
    429: "Too many jobs are waiting; try again after `Retry-After` seconds.",
    431: "The request line and headers are too long.",
    503: "The service is busy or stopping; try again after `Retry-After` seconds.",
    504: "The request took longer than the time limit.",
    507: "The disk is full.",
}


class ErrorDetail(BaseModel):
    """One error."""

    type: str
    message: str
    request_id: str


class ErrorAnswer(BaseModel):
    """Answer of every request that fails."""

    error: ErrorDetail


class RequestError(GalaxyDAError):
    """Refused request, with the status of the answer."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle all arguments, since processes pass it on."""
        return RequestError, (self.status, str(self), self.headers)


@contextmanager
def report_bad_arguments() -> Iterator[None]:
    """Turn a `ValueError` of a library call into an answer with status 422."""
    try:
        yield
    except ValueError as error:
        raise RequestError(422, str(error)) from error


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route for its OpenAPI entry."""
    return {status: {"model": ErrorAnswer, "description": _MEANING[status]} for status in statuses}


def error_response(
    status: int, kind: str, message: str, request_id: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return the answer of a request that fails."""
    detail = ErrorDetail(type=kind, message=message, request_id=request_id)
    return JSONResponse(ErrorAnswer(error=detail).model_dump(), status, headers)


def join_problems(problems: Iterable[Any], skip: int = 0) -> str:
    """Join the errors of pydantic in one line, each without the first `skip` parts of its place."""
    lines = []
    for item in problems:
        place = ".".join(map(str, item["loc"][skip:] or item["loc"]))
        lines.append(f"{place}: {item['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    kind, message = type(error).__name__, str(error)
    headers: Mapping[str, str] | None = None
    if isinstance(error, RequestError):
        status, headers = error.status, error.headers
    elif isinstance(error, HTTPException):
        kind, message = "HTTPError", str(error.detail)
        status, headers = error.status_code, error.headers
    elif isinstance(error, RequestValidationError):
        kind, message, status = "ValueError", join_problems(error.errors(), 1), 422
    else:
        status = next((code for known, code in _STATUS.items() if isinstance(error, known)), 500)
    return error_response(status, kind, message, getattr(request.state, "request_id", ""), headers)


ERROR_HANDLERS = dict.fromkeys((GalaxyDAError, HTTPException, RequestValidationError), _answer)
"""Handlers of the application, by the class of the exception."""
