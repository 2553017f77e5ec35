"""Checks that every request passes before a route sees it, and the log of its answer.

`BoundedProtocol` limits the request head, which uvicorn's parser does not. `Gate` is plain ASGI
middleware, so that it limits a body before anything reads it.
"""

from __future__ import annotations

import asyncio
import errno
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from galaxy_da.service.errors import error_response
from galaxy_da.service.lanes import CLIENT
from galaxy_da.service.limits import Limits
from galaxy_da.service.telemetry import LOG, Metrics

HEAD_BYTES = 65_536
HEAD_SECONDS = 20.0

_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_READING_METHODS = ("GET", "HEAD", "OPTIONS")
_FORM_BYTES = 1 << 16  # fields of a form, beside its files
_CLOSE = {"Connection": "close"}
_NOT_LOGGED = ("/healthz", "/readyz", "/metrics")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_POLICY = (
    b"default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    b"connect-src 'self' http://localhost:21012; "  # a SAMP hub of the user's own machine
    b"form-action 'self'; frame-ancestors 'none'"
)
_INLINE_POLICY = b"; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"
_DOCUMENTATION = "/docs"  # page of FastAPI, whose scripts and styles are inline


class BoundedProtocol(HttpToolsProtocol):
    """HTTP connection that closes if a request head is too long or too slow."""

    _head_bytes = 0
    _in_head = True
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the timer of the first head."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of an unfinished head."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(
                    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
                    b"connection: close\r\ncontent-length: 0\r\n\r\n"
                )
                self.transport.close()

    def on_message_begin(self) -> None:
        """Start the timer of the next head."""
        self._start_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop the timer at the end of a head."""
        self._in_head, self._head_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._in_head, self._head_bytes = True, 0
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Gate:
    """Middleware around the whole application.

    If `hosts` (names without port) is not empty, others are refused. The check stops DNS rebinding,
    by which another site's page could reach the service under a name of its own.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, metrics: Metrics, hosts: Sequence[str] = ()
    ) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics
        self._hosts = frozenset(hosts)
        self._body_bytes = {
            "/api/encode": limits.image_bytes + _FORM_BYTES,
            "/api/similar/image": limits.image_bytes + _FORM_BYTES,
            "/api/distances": limits.table_bytes + _FORM_BYTES,
            "/api/objects/table": limits.table_bytes,
            "/api/jobs": limits.job_bytes + _FORM_BYTES,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        sent_id = headers.get(b"x-request-id", b"")
        request_id = (
            sent_id.decode() if _ID.fullmatch(sent_id) else f"{random.getrandbits(128):032x}"
        )
        scope.setdefault("state", {})["request_id"] = request_id
        policy = _POLICY + (_INLINE_POLICY if scope["path"] == _DOCUMENTATION else b"")
        added = ((b"x-request-id", request_id.encode()), (b"content-security-policy", policy))
        answer = _Answer(send, (*added, *_HEADERS), self._limits.idle_seconds)

        async def refuse(kind: str, status: int, text: str) -> None:
            response = error_response(status, kind, text, request_id, _CLOSE)
            await response(scope, receive, answer)

        self._metrics.open.inc()
        CLIENT.set((scope.get("client") or ("",))[0])
        try:
            limit = self._body_bytes.get(scope["path"], self._limits.body_bytes)
            refusal = self._refusal(scope, headers, limit)
            if refusal is not None:
                await refuse("RequestError", *refusal)
            else:
                await self._app(scope, self._bounded(receive, limit), answer)
        except Exception as error:
            LOG.exception("request failed", extra={"fields": {"request_id": request_id}})
            if answer.status:
                raise
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                await refuse("ServiceError", 507, "the disk is full")
            else:
                await refuse("ServiceError", 500, "internal error; the service's log has more")
        finally:
            self._metrics.open.dec()
            self._log(scope, answer, request_id)

    def _refusal(
        self, scope: Scope, headers: Mapping[bytes, bytes], limit: int
    ) -> tuple[int, str] | None:
        head = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        head += sum(len(key) + len(value) for key, value in scope["headers"])
        if head > self._limits.head_bytes:
            text = f"request line and headers have {head} bytes, over {self._limits.head_bytes}"
            return 431, text
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts and _without_port(host) not in self._hosts:
            return 403, f"the service does not accept the host name {host!r}"
        origin = headers.get(b"origin", b"").decode("latin-1")
        if scope["method"] not in _READING_METHODS and origin and urlsplit(origin).netloc != host:
            return 403, f"a page of {origin} may not write to this service"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > limit:
            return 413, f"the body has {length.decode('latin-1')} bytes; {limit} are allowed"
        return None

    def _bounded(self, receive: Receive, limit: int) -> Receive:
        """Return a `receive` that limits the size of the body and the client's pauses."""
        received, ended = 0, False

        async def bounded() -> Message:
            nonlocal received, ended
            if ended:
                return await receive()  # only a disconnect can follow
            try:
                async with asyncio.timeout(self._limits.idle_seconds):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the client stopped sending the body", _CLOSE) from None
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, f"the body has over {limit} bytes", _CLOSE)
            ended = not message.get("more_body", False)
            return message

        return bounded

    def _log(self, scope: Scope, answer: _Answer, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        seconds = time.perf_counter() - answer.start
        self._metrics.requests.labels(scope["method"], route, answer.status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if scope["path"] in _NOT_LOGGED:
            return
        fields = {
            "request_id": request_id,
            "method": scope["method"],
            "path": scope["path"],
            "status": answer.status,
            "ms": round(1e3 * seconds, 2),
            "bytes": answer.size,
            "client": (scope.get("client") or ("",))[0],
        }
        LOG.info("request", extra={"fields": fields})


@dataclass
class _Answer:
    """Sends an answer and counts it for the log."""

    send: Send
    headers: Sequence[tuple[bytes, bytes]]
    idle_seconds: float
    start: float = field(default_factory=time.perf_counter)
    status: int = 0
    size: int = 0

    async def __call__(self, message: Message) -> None:
        """Send a part; disconnect a client that does not read."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self.headers]
        else:
            self.size += len(message.get("body", b""))
        async with asyncio.timeout(self.idle_seconds):
            await self.send(message)


def _without_port(host: str) -> str:
    return host.rsplit(":", 1)[0] if not host.endswith("]") and ":" in host else host
