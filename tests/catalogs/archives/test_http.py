import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count

import httpx
import numpy as np
import pytest
import requests
from server import FAULTS, ArchiveServer, Reply

from catalogs.archives.errors import HttpError
from catalogs.archives.http import Http
from catalogs.archives.limits import Limiter, Limits
from galaxy_da.errors import CatalogError

_names = map("test-http-{}".format, count())


def http_at(rate=200.0, concurrency=4, service=None, **options):
    options = {"timeout_s": 0.5, "backoff_s": 0.01, **options}
    limits = Limits(requests_per_second=rate, concurrency=concurrency)
    return Http(service or next(_names), limits, **options)


def echo(request):
    return Reply(b"cutout " + request.params.get("i", "").encode())


def once(fault):
    return lambda request, tries: fault if tries == 0 else None


@pytest.mark.parametrize("fault", [f for f in FAULTS if f not in ("garbage", "cut")])
def test_a_passing_fault_is_retried(fault):
    with ArchiveServer(echo, once(fault), slow_s=0.8, retry_after_s=0) as server, http_at() as http:
        assert http.get(server.url, params={"i": 7}) == b"cutout 7"
    assert [entry.fault for entry in server.log] == [fault, None]


@pytest.mark.parametrize("rate", [20, 7.5, 2.5])
def test_no_second_holds_more_requests_than_allowed(rate):
    n = int(rate * 2) + 2

    # replies of very different latency, through two clients of one service
    def reply(request):
        time.sleep(0.15 * (int(request.params["i"]) % 3))
        return Reply(b"x")

    name = next(_names)
    with (
        ArchiveServer(reply) as server,
        http_at(rate, 8, name, timeout_s=10) as one,
        http_at(rate, 8, name, timeout_s=10) as other,
        ThreadPoolExecutor(16) as pool,
    ):
        list(pool.map(lambda i: (one, other)[i % 2].get(server.url, params={"i": i}), range(n)))
        assert len(server.log) == n
        assert server.requests_in_any_second() <= rate


def test_requests_are_paced_evenly_and_slow_rates_wait_between():
    with ArchiveServer(echo) as server, http_at(10) as http:
        start = time.monotonic()
        for i in range(6):
            http.get(server.url, params={"i": i})
        times = [entry.time_s for entry in server.log]
    assert times[-1] - start > 0.48
    assert np.median(np.diff(times)) > 0.08
    with ArchiveServer(echo) as server, http_at(0.8) as http:
        for i in range(2):
            http.get(server.url, params={"i": i})
        assert server.log[1].time_s - server.log[0].time_s >= 1 / 0.8 - 0.02


def test_concurrency_stays_within_the_limit():
    busy, most, lock = 0, 0, threading.Lock()

    def reply(request):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.03)
        with lock:
            busy -= 1
        return Reply(b"x")

    name = next(_names)
    with (
        ArchiveServer(reply) as server,
        http_at(500, 3, name) as one,
        http_at(500, 3, name) as other,
        ThreadPoolExecutor(12) as pool,
    ):
        list(pool.map(lambda i: (one, other)[i % 2].get(server.url, params={"i": i}), range(40)))
    assert most == 3


def test_the_strictest_of_two_limits_holds():
    name = next(_names)
    first = Limiter.of(name, Limits(requests_per_second=50, concurrency=2))
    assert Limiter.of(name, Limits(requests_per_second=5, concurrency=9)) is first
    assert first.limits == Limits(requests_per_second=5, concurrency=2)


def test_retry_after_holds_the_whole_service_back():
    faults = {"0": "503"}
    with (
        ArchiveServer(
            echo, lambda r, tries: faults.get(r.params["i"]) if not tries else None
        ) as server,
        http_at(100, 4) as http,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda i: http.get(server.url, params={"i": i}), range(4)))
        refused = next(entry.time_s for entry in server.log if entry.fault)
        later = [entry.time_s - refused for entry in server.log if entry.time_s - refused > 0.05]
    assert later
    assert min(later) >= 0.95  # Retry-After: 1


def test_retry_after_may_be_a_date():
    when = datetime.now(UTC) + timedelta(seconds=2)
    replies = iter([Reply(status=429, headers={"Retry-After": format_datetime(when, True)})])
    with (
        ArchiveServer(lambda request: next(replies, Reply(b"x"))) as server,
        http_at() as http,
    ):
        assert http.get(server.url) == b"x"
        assert datetime.now(UTC) >= when.replace(microsecond=0)


def test_a_long_retry_after_stops_the_job():
    busy = Reply(status=503, headers={"Retry-After": "7200"})
    with ArchiveServer(lambda request: busy) as server, http_at() as http:
        with pytest.raises(CatalogError, match=r"come back in 7200 s \(HTTP 503"):
            http.get(server.url)
        assert len(server.log) == 1


def test_a_request_that_keeps_failing_is_fetch_failed():
    with (
        ArchiveServer(echo, lambda request, tries: "500") as server,
        http_at(attempts=3, service="stubborn") as http,
    ):
        with pytest.raises(HttpError, match=r"stubborn: kept failing, 3 times; .* HTTP 500") as got:
            http.get(server.url)
        assert (got.value.status, got.value.code, len(server.log)) == ("fetch_failed", 500, 3)


def test_a_refused_connection_is_fetch_failed():
    with ArchiveServer(echo) as server:
        url = server.url
    with http_at(attempts=2) as http, pytest.raises(HttpError, match="refused"):
        http.get(url)


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_account_stops_the_job(code):
    with ArchiveServer(lambda request: Reply(status=code)) as server, http_at() as http:
        with pytest.raises(CatalogError, match=f"refused .*HTTP {code}.*check the account"):
            http.get(server.url, auth=("me", "secret"))
        assert len(server.log) == 1
        assert server.log[0].request.account == ("me", "secret")


@pytest.mark.parametrize("code", [400, 404])
def test_other_errors_come_at_once_with_their_code(code):
    with (
        ArchiveServer(lambda request: Reply(b"no such\nlayer", code)) as server,
        http_at() as http,
    ):
        with pytest.raises(HttpError, match=rf"HTTP {code} .* \(no such layer\)") as got:
            http.get(server.url)
        assert (got.value.code, len(server.log)) == (code, 1)


def test_an_invalid_address_stops_the_job():
    with http_at() as http, pytest.raises(CatalogError, match="cannot be requested"):
        http.get("cutouts.example/viewer")


def test_redirections_count_against_the_rate_and_an_endless_one_fails():
    def reply(request):
        if request.path == "/old":
            return Reply(status=302, headers={"Location": "/new?i=3"})
        if request.path == "/loop":
            return Reply(status=302, headers={"Location": "/loop"})
        return echo(request)

    with ArchiveServer(reply) as server, http_at(5) as http:
        assert http.get(server.url + "/old") == b"cutout 3"
        assert server.log[1].time_s - server.log[0].time_s > 0.1
        with pytest.raises(HttpError, match="more than 5 redirections"):
            http.get(server.url + "/loop")


def test_an_endless_reply_is_given_up():
    class Drip(httpx.SyncByteStream):
        def __iter__(self):
            for _ in range(100):
                time.sleep(0.02)
                yield b"."

    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Drip()))
    with (
        http_at(timeout_s=0.1, attempts=2, transport=transport) as http,
        pytest.raises(HttpError, match=r"not whole after 0\.1 s"),
    ):
        http.get("http://slow.example")


def test_stop_ends_waits_at_once():
    with ArchiveServer(echo, lambda request, tries: "500") as server, http_at(backoff_s=60) as http:
        threading.Timer(0.2, http.stop).start()
        start = time.monotonic()
        with pytest.raises(HttpError):
            http.get(server.url)
        assert time.monotonic() - start < 2


def with_response(code, **headers):
    error = requests.HTTPError("bad", response=requests.Response())
    error.response.status_code = code
    error.response.headers.update({k.replace("_", "-"): v for k, v in headers.items()})
    return error


def wrapped(error):
    """A request by the library that pyvo uses."""
    try:
        try:
            raise error
        except Exception as inner:
            raise RuntimeError("service error") from inner
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    "fault",
    [
        requests.ConnectionError("gone"),
        requests.ReadTimeout("late"),
        TimeoutError("late"),
        http.client.IncompleteRead(b"half"),
        with_response(503, Retry_After="0"),
        wrapped(requests.ConnectionError("gone")),
        wrapped(with_response(502)),
    ],
    ids=repr,
)
def test_calls_through_other_libraries_are_retried(fault):
    errors = iter([fault])

    def ask():
        for error in errors:
            raise error
        return 42

    with http_at() as client:
        assert client.call(ask) == 42


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (with_response(401), CatalogError),
        (with_response(404), HttpError),
        (OSError(28, "No space left on device"), OSError),
        (FileNotFoundError(2, "no such file"), FileNotFoundError),
        (requests.exceptions.InvalidURL("nonsense"), requests.exceptions.InvalidURL),
        (KeyError("column"), KeyError),
    ],
    ids=repr,
)
def test_calls_pass_other_errors_at_once(fault, expected):
    tries = []

    def ask():
        tries.append(1)
        raise fault

    with http_at() as client, pytest.raises(expected):
        client.call(ask)
    assert len(tries) == 1


@pytest.mark.parametrize("rate, concurrency", [(0, 1), (-1, 1), (1, 0), (float("nan"), 1)])
def test_limits_must_be_positive(rate, concurrency):
    with pytest.raises(ValueError, match="limits must be positive"):
        Limits(requests_per_second=rate, concurrency=concurrency)
