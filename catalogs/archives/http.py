"""Polite requests: one limiter per service, retries with jitter, ``Retry-After`` honoured."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self, TypeAlias, TypeVar

import httpx
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_random_exponential,
)

from catalogs.archives.errors import HttpError
from catalogs.archives.limits import Limiter, Limits
from galaxy_da.errors import CatalogError, CutoutError

T = TypeVar("T")
Query: TypeAlias = Mapping[str, str | int | float]  # parameters of a request

_TRANSIENT = (408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524)
_REFUSED = (401, 403)
_LONGEST_PAUSE_S = 900.0
_LONGEST_BACKOFF_S = 60.0
_MAX_REDIRECTS = 5
_EXCERPT = 120
_USER_AGENT = "galaxy_da (cutouts; python-httpx)"


class Http:
    """Requests to one service, from any number of threads."""

    def __init__(
        self,
        service: str,  # its clients in a process share one limiter
        limits: Limits,
        *,
        timeout_s: float = 60.0,  # longest time of one reply
        attempts: int = 7,  # before a request counts as failed
        backoff_s: float = 0.5,  # scale of the random exponential wait between tries
        transport: httpx.BaseTransport | None = None,  # in place of the network
    ) -> None:
        self.service = service
        self._limiter = Limiter.of(service, limits)
        self._timeout_s = timeout_s
        self._stopped = threading.Event()
        self._retrying = Retrying(
            retry=retry_if_exception_type(_TransientError),
            stop=stop_after_attempt(attempts) | stop_when_event_set(self._stopped),
            wait=wait_random_exponential(backoff_s, max=_LONGEST_BACKOFF_S),
            sleep=sleep_using_event(self._stopped),
        )
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_s, pool=None),
            headers={"User-Agent": _USER_AGENT},
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._client.close()

    @property
    def stopped(self) -> bool:
        """True after `stop`."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Start no further request; those that wait to start or to retry fail at once."""
        self._stopped.set()

    def get(
        self, url: str, *, params: Query | None = None, auth: tuple[str, str] | None = None
    ) -> bytes:
        """Get the body of a whole reply; `auth` is an HTTP basic account.

        HttpError (``fetch_failed``) is raised if the request kept failing (timeouts, lost
        connections, 429, 5xx), or at once on another 4xx. CatalogError is raised if the service
        refuses the account (401, 403), the address is invalid, or ``Retry-After`` is above a
        quarter of an hour.
        """
        return self._retry(lambda: self._send("GET", url, auth, params=params))

    def post(self, url: str, form: Query) -> bytes:
        """Post a form and get a whole reply; raises as `get`."""
        return self._retry(lambda: self._send("POST", url, data=form))

    def call(self, function: Callable[[], T]) -> T:
        """Run any blocking request (as of pyvo) under the same limiter and retries.

        Network errors are recognised by their type, and HTTP errors by the reply that they carry.
        They raise as `get`; any other error comes through.
        """
        return self._retry(lambda: self._call_once(function))

    def _retry(self, attempt: Callable[[], T]) -> T:
        try:
            return self._retrying(attempt)
        except RetryError as failure:
            last, times = failure.last_attempt.exception(), failure.last_attempt.attempt_number
            assert isinstance(last, _TransientError)
            raise HttpError(
                f"{self.service}: kept failing, {times} times; the last time {last}", last.code
            ) from last

    def _send(
        self, method: str, url: str, auth: tuple[str, str] | None = None, **content: Any
    ) -> bytes:
        """Send a request and follow its redirections, each under the limiter."""
        try:
            request = self._client.build_request(method, url, **content)
            for _ in range(_MAX_REDIRECTS + 1):
                with self._limiter.slot(self._stopped):
                    response, body = self._receive(request, auth)
                    self._raise_for_code(response.status_code, response.headers, body)
                if response.next_request is None:
                    return body
                request, auth = response.next_request, None
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
            raise CatalogError(f"{self.service}: {url!r} cannot be requested ({error})") from error
        except httpx.RequestError as error:
            raise _TransientError(str(error) or type(error).__name__) from error
        raise HttpError(f"{self.service}: more than {_MAX_REDIRECTS} redirections from {url}")

    def _receive(
        self, request: httpx.Request, auth: tuple[str, str] | None
    ) -> tuple[httpx.Response, bytes]:
        """Read a reply to its end within the time limit."""
        deadline = time.monotonic() + self._timeout_s
        response = self._client.send(request, auth=auth, stream=True)
        try:
            parts = []
            for part in response.iter_bytes():
                parts.append(part)
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout(f"reply not whole after {self._timeout_s:g} s")
        finally:
            response.close()
        return response, b"".join(parts)

    def _raise_for_code(self, code: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raise the error of an error reply, before the limiter lets another request start."""
        if code < 400:
            return
        what = f"HTTP {code} {http.client.responses.get(code, '')}".strip()
        if code in _TRANSIENT:
            pause_s = _retry_after_s(headers)
            if pause_s > _LONGEST_PAUSE_S:
                raise CatalogError(
                    f"{self.service}: asks to come back in {pause_s:.0f} s ({what}); run the same "
                    "command again then"
                )
            self._limiter.pause(pause_s)
            raise _TransientError(what, code)
        if code in _REFUSED:
            raise CatalogError(
                f"{self.service}: refused the request ({what}); check the account and the address"
            )
        text = " ".join(body[: 4 * _EXCERPT].decode(errors="replace").split())[:_EXCERPT]
        raise HttpError(f"{self.service}: {what}" + (f" ({text})" if text else ""), code)

    def _call_once(self, function: Callable[[], T]) -> T:
        with self._limiter.slot(self._stopped):
            try:
                return function()
            except (CatalogError, CutoutError):
                raise
            except Exception as error:
                for cause in _chain(error):
                    response = getattr(cause, "response", cause)
                    code = getattr(response, "status_code", getattr(response, "code", None))
                    if isinstance(code, int) and 400 <= code < 600:
                        self._raise_for_code(code, getattr(response, "headers", None) or {}, b"")
                if any(map(_is_network_fault, _chain(error))):
                    raise _TransientError(str(error) or type(error).__name__) from error
                raise


class _TransientError(Exception):
    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the wait [s] that a reply asks for in seconds or by a date."""
    text = headers.get("Retry-After", headers.get("retry-after", "")).strip()
    if text.isdecimal():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _chain(error: BaseException | None) -> Iterator[Any]:
    while error is not None:
        yield error
        inner = getattr(error, "cause", None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__


def _is_network_fault(error: BaseException) -> bool:
    if isinstance(error, ValueError):  # requests.InvalidURL and its kin
        return False
    known = (ConnectionError, TimeoutError, http.client.HTTPException, httpx.TransportError)
    if isinstance(error, known):
        return True
    # requests.RequestException and URLError are OSErrors without a number; a full disk has one
    return isinstance(error, OSError) and (error.errno is None or error.errno < 0)
