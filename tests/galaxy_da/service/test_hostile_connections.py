"""Hostile connections: slow, silent, endless or broken ones are ended."""

import socket
import time

import httpx
import pytest
from service_helpers import running

from galaxy_da.service import middleware
from galaxy_da.service.limits import Limits


@pytest.fixture(scope="module")
def address(workspace):
    app = workspace.app(limits=Limits(idle_seconds=1))
    with running(app) as url:
        app.state.service.start()
        yield url


def connected(url):
    parsed = httpx.URL(url)
    return socket.create_connection((parsed.host, parsed.port), timeout=30)


def test_request_heads_are_bounded(address):
    for path, headers in (
        ("/api/info", {"X": "y" * 40_000}),
        (f"/api/objects?id={'x' * 40_000}", {}),
    ):
        answer = httpx.get(f"{address}{path}", headers=headers, timeout=60)
        assert answer.status_code == 431
    with connected(address) as line:
        line.sendall(b"GET / HTTP/1.1\r\n")
        sent = 0
        try:
            while sent < 10_000_000:
                sent += line.send(b"X: " + b"y" * 4000 + b"\r\n")
                time.sleep(0.001)
        except OSError:
            pass
        assert sent < 5_000_000
    assert httpx.get(f"{address}/healthz", timeout=60).status_code == 200


def test_slow_clients_are_disconnected(address, monkeypatch):
    monkeypatch.setattr(middleware, "HEAD_SECONDS", 0.5)
    with connected(address) as silent, connected(address) as slow, connected(address) as stalled:
        slow.sendall(b"GET / HT")
        stalled.sendall(
            b"POST /api/similar HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        assert silent.recv(100) == b"" and slow.recv(100) == b""
        assert stalled.recv(100).startswith(b"HTTP/1.1 408")
    assert httpx.get(f"{address}/healthz", timeout=60).status_code == 200


def test_garbage_is_answered_with_400(address):
    for text in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01" + bytes(99),
        "GET /\u00e9 HTTP/1.1\r\n\r\n".encode(),
    ):
        with connected(address) as line:
            line.sendall(text)
            assert line.recv(100).startswith(b"HTTP/1.1 4")
    assert httpx.get(f"{address}/healthz", timeout=60).status_code == 200


def test_disconnected_clients_leave_no_open_requests(address, workspace):
    for _ in range(20):
        with connected(address) as line:
            line.sendall(b"GET /api/outliers?k=5 HTTP/1.1\r\nHost: x\r\n\r\n")
    deadline = time.monotonic() + 30
    while "galaxy_da_requests_open 1.0" not in httpx.get(f"{address}/metrics", timeout=60).text:
        assert time.monotonic() < deadline
    assert httpx.get(f"{address}/api/similar?id=sdss:sdss-0001", timeout=60).status_code == 200
