"""Errors of the service: one JSON object for each, with the right HTTP status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, Request
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

__all__ = [
    "ErrorAnswer",
    "RequestError",
    "add_error_handlers",
    "error_responses",
    "report_bad_arguments",
]

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


def add_error_handlers(app: FastAPI) -> None:
    """Map every exception to its status."""

    async def known(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, GalaxyDAError)
        if isinstance(error, RequestError):
            return _answer(request, error.status, "RequestError", str(error), error.headers)
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        return _answer(request, status, type(error).__name__, str(error))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _answer(request, error.status_code, "HTTPError", str(error.detail), error.headers)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'][1:])) or item['loc'][0]}: "
            f"{item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        return _answer(request, 422, "ValueError", problems)

    app.add_exception_handler(GalaxyDAError, known)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)


def _answer(
    request: Request, status: int, kind: str, message: str, headers: Any = None
) -> JSONResponse:
    text = ErrorDetail(
        type=kind, message=message, request_id=getattr(request.state, "request_id", "")
    )
    return JSONResponse(ErrorAnswer(error=text).model_dump(), status, headers)
