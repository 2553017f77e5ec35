"""A loopback archive: answers by a function of the request, with faults on demand, and keeps a log.

with ArchiveServer(lambda request: Reply(stamp(request.params))) as server:
    server.faults = lambda request, tries: "503" if tries == 0 else None
    client.get(server.url + "/cutout.fits")
assert server.requests_in_any_second() <= 10
"""

import socket
import struct
import threading
import time
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np

FAULTS = ("slow", "garbage", "truncated", "cut", "reset", "429", "500", "503")
"""Faults: a reply later than `slow_s`; an HTML page with status 200; half a reply,
with or without its length; a reset connection; an error status, 429 and 503 with Retry-After.
"""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes
    account: tuple[str, str] | None


@dataclass(frozen=True)
class Reply:
    body: bytes = b""
    status: int = 200
    content_type: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Entry:
    """One request to the server."""

    time_s: float
    request: Request
    fault: str | None
    status: int | None = None
    whole: bool = False


class ArchiveServer:
    """Serve `reply(request)` on a free port of the loopback interface.

    `faults(request, tries)` names one of FAULTS, or None; `tries` counts the earlier requests of
    the same address. `log` lists every request in the order it came.
    """

    def __init__(self, reply, faults=None, *, slow_s=2.0, retry_after_s=1):
        self.reply = reply
        self.faults = faults or (lambda request, tries: None)
        self.slow_s = slow_s
        self.retry_after_s = retry_after_s
        self.log: list[Entry] = []
        self._tries = Counter()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.archive = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def requests_in_any_second(self):
        """Largest number of requests in a half-open window of one second."""
        times = np.sort([entry.time_s for entry in self.log])
        return int(np.max(np.arange(len(times)) - np.searchsorted(times, times - 1, "right"))) + 1

    def _enter(self, request):
        with self._lock:
            key = (request.path, tuple(sorted(request.params.items())))
            entry = Entry(time.monotonic(), request, self.faults(request, self._tries[key]))
            self._tries[key] += 1
            self.log.append(entry)
        return entry


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """Say nothing: clients that hang up are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        archive = self.server.archive
        request = self._request()
        entry = archive._enter(request)
        if entry.fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        if entry.fault == "slow":
            time.sleep(archive.slow_s)
        reply = self._faulty(archive, entry.fault) or archive.reply(request)
        entry.status = reply.status
        self._send(reply, entry.fault)
        entry.whole = entry.fault is None

    def do_POST(self):
        self.do_GET()

    def _request(self):
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        account = self.headers.get("Authorization", "")
        user_password = None
        if account.startswith("Basic "):
            user_password = tuple(b64decode(account[6:]).decode().split(":", 1))
        return Request(
            method=self.command,
            path=parts.path,
            params={k: v[-1] for k, v in parse_qs(parts.query, keep_blank_values=True).items()},
            headers=dict(self.headers),
            body=self.rfile.read(length),
            account=user_password,
        )

    def _faulty(self, archive, fault):
        if fault == "garbage":
            return Reply(b"<html><body>The service is busy.</body></html>", 200, "text/html")
        if fault in ("429", "503"):
            return Reply(b"busy", int(fault), headers={"Retry-After": str(archive.retry_after_s)})
        if fault == "500":
            return Reply(b"internal error", 500)
        return None

    def _send(self, reply, fault):
        body = reply.body[: len(reply.body) // 2] if fault in ("truncated", "cut") else reply.body
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if fault == "cut":
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection |= fault in ("truncated", "cut")
