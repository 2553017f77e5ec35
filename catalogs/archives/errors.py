"""HTTP errors of archives, and the meaning of their codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from galaxy_da.errors import CatalogError, CutoutError


class HttpError(CutoutError):
    """A request that got an error reply, with its HTTP status as `code`, or kept failing."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message, status="fetch_failed")
        self.code = code


@contextmanager
def http_errors(
    label: str, *, no_data: tuple[int, ...] = (), refused: tuple[int, ...] = ()
) -> Iterator[None]:
    """Turn the HTTP codes of one service into the errors that they mean there.

    Codes in `no_data` mean a position without an image, those in `refused` a request that no
    position can mend (CatalogError). `label` names service and position.
    """
    try:
        yield
    except HttpError as error:
        if error.code in no_data:
            raise CutoutError(f"{label}: no image ({error})", status="no_data") from error
        if error.code in refused:
            raise CatalogError(f"{label}: does not take this request ({error})") from error
        raise
