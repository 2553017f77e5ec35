"""What every request passes first: its id, its size and pace, where it came from; and its record.

Plain ASGI, since a body must be bounded before anything reads it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from galaxy_da.service.limits import Limits
from galaxy_da.service.telemetry import LOG, Metrics

__all__ = ["Gate"]

_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SAFE = ("GET", "HEAD", "OPTIONS")
_FORM_BYTES = 1 << 16
_CLOSE = {"Connection": "close"}
_QUIET = ("/healthz", "/readyz", "/metrics")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_POLICY = (
    b"default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    b"form-action 'self'; frame-ancestors 'none'"
)
_INLINE = b"; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"
_DOCUMENTATION = "/docs"  # not our page; its scripts and styles are inline


class Gate:
    """Middleware around the whole app.

    Parameters
    ----------
    app : ASGIApp
    limits : Limits
    metrics : Metrics
    hosts : sequence of str
        Names this service is reached by; requests with another ``Host`` are refused, so that a
        page elsewhere cannot reach it through a name of its own. Any where empty.
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
        given = headers.get(b"x-request-id", b"")
        name = given if _ID.fullmatch(given) else uuid.uuid4().hex.encode()
        scope.setdefault("state", {})["request_id"] = name.decode()
        policy = _POLICY + (_INLINE if scope["path"] == _DOCUMENTATION else b"")
        own = ((b"x-request-id", name), (b"content-security-policy", policy), *_HEADERS)
        seen = _Seen(send, own, self._limits.idle_seconds)
        self._metrics.open.inc()
        try:
            refused = self._refused(scope, headers)
            if refused is not None:
                await _answer(seen, *refused, name)
            else:
                most = self._body_bytes.get(scope["path"], self._limits.body_bytes)
                await self._app(scope, self._bounded(receive, most), seen)
        except Exception as error:
            LOG.exception("request failed", extra={"fields": {"request_id": name.decode()}})
            if seen.status:
                raise
            kind = 507 if isinstance(error, OSError) and error.errno == 28 else 500
            text = "the disk is full" if kind == 507 else "a fault of the service; it is in its log"
            await _answer(seen, kind, text, name)
        finally:
            self._metrics.open.dec()
            self._record(scope, seen, name.decode())

    def _refused(self, scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
        head = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        head += sum(len(key) + len(value) for key, value in scope["headers"])
        if head > self._limits.head_bytes:
            return (
                431,
                f"request line and headers have {head} bytes, over {self._limits.head_bytes}",
            )
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts and _name(host) not in self._hosts:
            return 403, f"this service is not reached as {host!r}"
        origin = headers.get(b"origin", b"").decode("latin-1")
        if scope["method"] not in _SAFE and origin and urlsplit(origin).netloc != host:
            return 403, f"a page of {origin} may not write here"
        length = headers.get(b"content-length", b"0")
        most = self._body_bytes.get(scope["path"], self._limits.body_bytes)
        if not length.isdigit() or int(length) > most:
            return 413, f"the body has {length.decode('latin-1')} bytes; {most} are allowed"
        return None

    def _bounded(self, receive: Receive, most: int) -> Receive:
        """Take a body of bounded size from a client that does not pause for long."""
        taken, ended = 0, False

        async def bounded() -> Message:
            nonlocal taken, ended
            if ended:
                return await receive()  # the client goes away
            try:
                message = await asyncio.wait_for(receive(), self._limits.idle_seconds)
            except TimeoutError:
                raise HTTPException(408, "the body stopped coming", _CLOSE) from None
            taken += len(message.get("body", b""))
            if taken > most:
                raise HTTPException(413, f"the body has over {most} bytes", _CLOSE)
            ended = not message.get("more_body", False)
            return message

        return bounded

    def _record(self, scope: Scope, seen: _Seen, name: str) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        seconds = time.perf_counter() - seen.began
        self._metrics.requests.labels(scope["method"], route, seen.status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if scope["path"] in _QUIET:
            return
        fields = {
            "request_id": name,
            "method": scope["method"],
            "path": scope["path"],
            "status": seen.status,
            "ms": round(1e3 * seconds, 2),
            "bytes": seen.bytes,
            "client": (scope.get("client") or ("",))[0],
        }
        LOG.info("request", extra={"fields": fields})


class _Seen:
    """Sends an answer, and remembers what of it the record needs."""

    def __init__(
        self, send: Send, headers: Sequence[tuple[bytes, bytes]], idle_seconds: float
    ) -> None:
        self._send = send
        self._headers = headers
        self._idle_seconds = idle_seconds
        self.began = time.perf_counter()
        self.status = 0
        self.bytes = 0

    async def __call__(self, message: Message) -> None:
        """Send a part; a client that reads nothing for too long loses its connection."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._headers]
        else:
            self.bytes += len(message.get("body", b""))
        await asyncio.wait_for(self._send(message), self._idle_seconds)


async def _answer(send: Send, status: int, text: str, name: bytes) -> None:
    kind = "ServiceError" if status >= 500 else "RequestError"
    error = {"type": kind, "message": text, "request_id": name.decode()}
    body = json.dumps({"error": error}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _name(host: str) -> str:
    """Return a ``Host`` header without its port."""
    return host.rsplit(":", 1)[0] if not host.endswith("]") and ":" in host else host
