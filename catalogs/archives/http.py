"""Polite requests: one limiter per service, retries with jitter, ``Retry-After`` honoured.

A request counts against the rate from its start until one second after its reply. Wherever in
between the server received it, no second of the server's clock then holds more than the service's
rate, however late replies come.
"""

from __future__ import annotations

import http.client
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar

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

from catalogs.archives.limits import Limits
from galaxy_da.errors import CatalogError, CutoutError

__all__ = ["Http", "HttpError", "Limiter"]

T = TypeVar("T")

_TRANSIENT = (408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524)
_REFUSED = (401, 403)
_LONGEST_PAUSE_S = 900.0
_LONGEST_BACKOFF_S = 60.0
_MAX_REDIRECTS = 5
_EXCERPT = 120
_USER_AGENT = "galaxy_da (cutouts; python-httpx)"


class HttpError(CutoutError):
    """A request that was answered with an error, or kept failing.

    Attributes
    ----------
    code : int or None
        The HTTP status, where there was a reply. A client that knows what the service means by it
        (404 for "nothing here") raises its own `CutoutError` instead.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message, status="fetch_failed")
        self.code = code


class Limiter:
    """Turns at one service: a rate, evenly paced, and a concurrency.

    Parameters
    ----------
    limits : Limits
        What the service bears. A rate below one leaves 1 / rate seconds between requests.
    """

    _shared: dict[str, Limiter] = {}  # noqa: RUF012
    _sharing = threading.Lock()

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self._under_way = 0
        self._last_start = self._open_at = -math.inf
        self._ended: deque[float] = deque()

    @classmethod
    def of(cls, service: str, limits: Limits) -> Limiter:
        """Return the one limiter of a service in this process, no looser than `limits`."""
        with cls._sharing:
            limiter = cls._shared.setdefault(service, cls(limits))
        with limiter._changed:
            limiter._limits = Limits(
                requests_per_second=min(
                    limits.requests_per_second, limiter._limits.requests_per_second
                ),
                concurrency=min(limits.concurrency, limiter._limits.concurrency),
            )
        return limiter

    @contextmanager
    def turn(self, stopped: threading.Event) -> Iterator[None]:
        """Wait for a turn and hold it while the block runs.

        Raises
        ------
        HttpError
            If `stopped` is set.
        """
        with self._changed:
            while not stopped.is_set() and (wait_s := self._wait_s(time.monotonic())) > 0:
                self._changed.wait(min(wait_s, 0.2))
            if stopped.is_set():
                raise HttpError("stopped before its turn")
            self._under_way += 1
            self._last_start = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._ended.append(time.monotonic())
                self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Let nobody start for some seconds."""
        with self._changed:
            self._open_at = max(self._open_at, time.monotonic() + seconds)

    def _wait_s(self, now: float) -> float:
        """Return how long until a request may start [s]; not positive when it may now."""
        rate = self._limits.requests_per_second
        at_most, window_s = max(1, math.floor(rate)), max(1.0, 1 / rate)
        while self._ended and self._ended[0] <= now - window_s:
            self._ended.popleft()
        waits = [self._open_at - now, self._last_start + 1 / rate - now]
        if self._under_way + len(self._ended) >= at_most:
            waits.append(self._ended[0] + window_s - now if self._ended else window_s)
        if self._under_way >= self._limits.concurrency:
            waits.append(window_s)
        return max(waits)


class Http:
    """Requests to one service, from any number of threads.

    Parameters
    ----------
    service : str
        All `Http` of one service in a process share its limiter.
    limits : Limits
        What the service bears.
    timeout_s : float
        Longest that one reply may take [s].
    attempts : int
        Tries before a request counts as failed.
    backoff_s : float
        Scale of the random exponential wait between tries [s].
    transport : httpx.BaseTransport, optional
        In place of the network.
    """

    def __init__(
        self,
        service: str,
        limits: Limits,
        *,
        timeout_s: float = 60.0,
        attempts: int = 7,
        backoff_s: float = 0.5,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.service = service
        self._limiter = Limiter.of(service, limits)
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._backoff_s = backoff_s
        self._stopped = threading.Event()
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_s, pool=None),
            headers={"User-Agent": _USER_AGENT},
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._client.close()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Start no further request; those waiting for a turn or a retry fail at once."""
        self._stopped.set()

    def get(
        self,
        url: str,
        *,
        params: Mapping[str, str | int | float] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> bytes:
        """Get a whole reply.

        Parameters
        ----------
        url : str
            Address.
        params : mapping, optional
            Query parameters.
        auth : (user, password), optional
            HTTP basic account.

        Returns
        -------
        bytes
            The body of a reply of status 2xx.

        Raises
        ------
        HttpError
            If the request kept failing (timeouts, lost connections, 429, 5xx), or at once on
            another 4xx; its status is ``fetch_failed``.
        CatalogError
            If the service refuses the account (401, 403), the address is none, or ``Retry-After``
            asks for a longer pause than a quarter of an hour.
        """
        return self._persist(lambda: self._exchange(url, params, auth))

    def call(self, function: Callable[[], T]) -> T:
        """Run any blocking request (astroquery, pyvo) under the same limiter and retries.

        Parameters
        ----------
        function : callable
            Makes one request. Its network errors are recognised by their kind, and HTTP errors by
            the reply they carry; anything else it raises comes through.

        Raises
        ------
        HttpError, CatalogError
            As `get`.
        """
        return self._persist(lambda: self._foreign(function))

    def _persist(self, attempt: Callable[[], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception_type(_TransientError),
            stop=stop_after_attempt(self._attempts) | stop_when_event_set(self._stopped),
            wait=wait_random_exponential(self._backoff_s, max=_LONGEST_BACKOFF_S),
            sleep=sleep_using_event(self._stopped),
        )
        try:
            return retrying(attempt)
        except RetryError as end:
            last = end.last_attempt.exception()
            assert isinstance(last, _TransientError)
            raise HttpError(
                f"{self.service}: kept failing, {end.last_attempt.attempt_number} times; the last "
                f"time {last}",
                code=last.code,
            ) from last

    def _exchange(
        self,
        url: str,
        params: Mapping[str, str | int | float] | None,
        auth: tuple[str, str] | None,
    ) -> bytes:
        """Send a request and follow its redirections, a turn for each."""
        try:
            request: httpx.Request | None = self._client.build_request("GET", url, params=params)
            for _ in range(_MAX_REDIRECTS + 1):
                assert request is not None
                with self._limiter.turn(self._stopped):
                    response, body = self._receive(request, auth)
                    self._judge(response.status_code, response.headers, body)
                request, auth = response.next_request, None
                if request is None:
                    return body
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
            raise CatalogError(f"{self.service}: {url!r} cannot be requested ({error})") from error
        except httpx.RequestError as error:
            raise _TransientError(str(error) or type(error).__name__) from error
        raise HttpError(f"{self.service}: more than {_MAX_REDIRECTS} redirections from {url}")

    def _receive(
        self, request: httpx.Request, auth: tuple[str, str] | None
    ) -> tuple[httpx.Response, bytes]:
        """Read a reply to its end, but not for ever."""
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

    def _judge(self, code: int, headers: Mapping[str, str], body: bytes) -> None:
        """Turn an error reply into the error it means; called while the turn is held."""
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

    def _foreign(self, function: Callable[[], T]) -> T:
        with self._limiter.turn(self._stopped):
            try:
                return function()
            except (CatalogError, CutoutError):
                raise
            except Exception as error:
                for one in _chain(error):
                    response = getattr(one, "response", one)
                    code = getattr(response, "status_code", getattr(response, "code", None))
                    if isinstance(code, int) and 400 <= code < 600:
                        self._judge(code, getattr(response, "headers", None) or {}, b"")
                if any(map(_is_network_fault, _chain(error))):
                    raise _TransientError(str(error) or type(error).__name__) from error
                raise


class _TransientError(Exception):
    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the wait a reply asks for, as seconds or as a date [s]."""
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
    """Yield an error and those it came from."""
    while error is not None:
        yield error
        inner = getattr(error, "cause", None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__


def _is_network_fault(error: BaseException) -> bool:
    if isinstance(error, ValueError):  # requests.InvalidURL and its kin
        return False
    if isinstance(error, ConnectionError | TimeoutError | http.client.HTTPException):
        return True
    if isinstance(error, httpx.TransportError):
        return True
    # requests.RequestException and URLError are OSErrors without a number; a full disk has one
    return isinstance(error, OSError) and (error.errno is None or error.errno < 0)
