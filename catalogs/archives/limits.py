"""Request limits of a service: a rate and a concurrency, shared by all clients in a process.

A request counts against the rate from its start until one second after its reply. The server
received it somewhere in between, so no second of the server's clock holds more requests than the
rate allows, however late replies come.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from catalogs.archives.errors import HttpError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Most requests to a service in any second (a rate below one spaces them), and at a time."""

    requests_per_second: float
    concurrency: int

    def __post_init__(self) -> None:
        if not (self.requests_per_second > 0 and self.concurrency >= 1):
            raise ValueError(
                f"limits must be positive but are {self.requests_per_second} requests per second "
                f"and a concurrency of {self.concurrency}"
            )


class Limiter:
    """Gate that holds requests back to the limits of one service, evenly paced."""

    _by_service: dict[str, Limiter] = {}  # noqa: RUF012
    _lock = threading.Lock()

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._changed = threading.Condition()
        self._in_progress = 0
        self._last_start = self._open_at = -math.inf
        self._ended: deque[float] = deque()

    @classmethod
    def of(cls, service: str, limits: Limits) -> Limiter:
        """Return the one limiter of a service in this process, at least as strict as `limits`."""
        with cls._lock:
            limiter = cls._by_service.setdefault(service, cls(limits))
        with limiter._changed:
            old = limiter.limits
            limiter.limits = Limits(
                requests_per_second=min(limits.requests_per_second, old.requests_per_second),
                concurrency=min(limits.concurrency, old.concurrency),
            )
        return limiter

    @contextmanager
    def slot(self, stopped: threading.Event) -> Iterator[None]:
        """Wait until a request may start, and count it while the block runs.

        HttpError is raised if `stopped` is set.
        """
        with self._changed:
            while not stopped.is_set() and (wait_s := self._wait_s(time.monotonic())) > 0:
                self._changed.wait(min(wait_s, 0.2))
            if stopped.is_set():
                raise HttpError("stopped before the request was sent")
            self._in_progress += 1
            self._last_start = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                self._in_progress -= 1
                self._ended.append(time.monotonic())
                self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Let no request start for some seconds."""
        with self._changed:
            self._open_at = max(self._open_at, time.monotonic() + seconds)

    def _wait_s(self, now: float) -> float:
        """Return the time until a request may start [s]; not positive when it may start now."""
        rate = self.limits.requests_per_second
        at_most, window_s = max(1, math.floor(rate)), max(1.0, 1 / rate)
        while self._ended and self._ended[0] <= now - window_s:
            self._ended.popleft()
        waits = [self._open_at - now, self._last_start + 1 / rate - now]
        if self._in_progress + len(self._ended) >= at_most:
            waits.append(self._ended[0] + window_s - now if self._ended else window_s)
        if self._in_progress >= self.limits.concurrency:
            waits.append(window_s)
        return max(waits)
