"""Every mistake as one JSON object with the right status."""

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

__all__ = ["ErrorAnswer", "RequestError", "add_error_handlers", "asking", "documented", "refusal"]

_STATUS: dict[type[GalaxyDAError], int] = {
    LatentIndexError: 404,
    SpaceError: 404,
    CutoutError: 404,
    SurveyError: 422,
    TableError: 422,
    CatalogError: 422,
    StorageError: 507,
}
"""What each kind of mistake is in HTTP; what a request names and is not here is 404."""

_MEANING = {
    400: "The request cannot be read.",
    401: "A token is needed, and none or no valid one came.",
    403: "The token may not do this, or the request came from another site.",
    404: "What the request names is not here.",
    408: "The body stopped coming.",
    413: "Too large.",
    415: "Not a kind of file that is read here.",
    422: "A value cannot be used.",
    429: "Too many jobs are waiting; try again after `Retry-After` seconds.",
    431: "The request line and headers are too long.",
    503: "Busy or stopping; try again after `Retry-After` seconds.",
    504: "Took longer than it may.",
    507: "The disk is full.",
}


class ErrorText(BaseModel):
    """What went wrong."""

    type: str
    message: str
    request_id: str


class ErrorAnswer(BaseModel):
    """Every answer that is not a success."""

    error: ErrorText


class RequestError(GalaxyDAError):
    """A request that cannot be served; carries the status of the answer."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


@contextmanager
def asking() -> Iterator[None]:
    """Report a bad argument of a library call as the client's mistake."""
    try:
        yield
    except ValueError as error:
        raise RequestError(422, str(error)) from error


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe errors of a route for its OpenAPI entry."""
    return {status: {"model": ErrorAnswer, "description": _MEANING[status]} for status in statuses}


def refusal(
    request: Request, status: int, kind: str, message: str, headers: Any = None
) -> JSONResponse:
    """Return the answer that reports a mistake."""
    text = ErrorText(
        type=kind, message=message, request_id=getattr(request.state, "request_id", "")
    )
    return JSONResponse(ErrorAnswer(error=text).model_dump(), status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Map every exception to its status, once."""

    async def known(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, GalaxyDAError)
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        if isinstance(error, RequestError):
            return refusal(request, error.status, "RequestError", str(error), error.headers)
        return refusal(request, status, type(error).__name__, str(error))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return refusal(request, error.status_code, "HTTPError", str(error.detail), error.headers)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'][1:])) or item['loc'][0]}: "
            f"{item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        return refusal(request, 422, "ValueError", problems)

    app.add_exception_handler(GalaxyDAError, known)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
