"""What the service says of itself: one JSON object a line in its log, Prometheus metrics."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

__all__ = ["LOG", "Metrics", "log_json"]

LOG = logging.getLogger("galaxy_da.service")

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_SHARED = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """Counters of one app, or of all worker processes where they share a folder of them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "galaxy_da_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "galaxy_da_request_seconds",
            "Time to the end of the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.open = Gauge(
            "galaxy_da_requests_open",
            "Requests being answered.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.batches = Histogram(
            "galaxy_da_batch_size",
            "Requests computed together.",
            ("what",),
            buckets=_SIZES,
            registry=self.registry,
        )
        self.jobs = Gauge(
            "galaxy_da_jobs",
            "Jobs by state.",
            ("state",),
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.objects = Gauge(
            "galaxy_da_index_objects",
            "Objects in the index.",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )

    def exposition(self) -> tuple[bytes, str]:
        """Return the metrics as Prometheus reads them, and their media type."""
        registry = self.registry
        if _SHARED in os.environ:
            _forget_dead(Path(os.environ[_SHARED]))
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST


def _forget_dead(folder: Path) -> None:
    """Drop what killed workers were just doing."""
    for path in folder.glob("gauge_live*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=str)


def log_json(level: int = logging.INFO) -> None:
    """Send the logs of the service and of uvicorn to stderr, one JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    for name in ("galaxy_da", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
