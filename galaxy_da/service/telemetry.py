"""Logs as one JSON object a line, and metrics for Prometheus."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

LOG = logging.getLogger("galaxy_da.service")

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """Metrics of one process, or of all worker processes that share a folder."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "galaxy_da_requests", "Requests answered.", ("method", "route", "status"), **own
        )
        self.seconds = Histogram(
            "galaxy_da_request_seconds",
            "Time from request to the end of the answer [s].",
            ("route",),
            buckets=_SECONDS,
            **own,
        )
        self.batches = Histogram(
            "galaxy_da_batch_size", "Requests computed together.", ("kind",), buckets=_SIZES, **own
        )
        self.open = Gauge(
            "galaxy_da_requests_open", "Requests in progress.", multiprocess_mode="livesum", **own
        )
        own["multiprocess_mode"] = "mostrecent"
        self.jobs = Gauge("galaxy_da_jobs", "Jobs by state.", ("state",), **own)
        self.objects = Gauge("galaxy_da_index_objects", "Objects in the index.", **own)

    def exposition(self) -> tuple[bytes, str]:
        """Return the metrics in the Prometheus text format, and their media type."""
        registry = self.registry
        if SHARED_FOLDER in os.environ:
            _remove_dead(Path(os.environ[SHARED_FOLDER]))
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST


def _remove_dead(folder: Path) -> None:
    """Remove the gauges of worker processes that were killed."""
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
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_json(level: int = logging.INFO) -> None:
    """Write the logs of the service and of uvicorn to stderr, one JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    for name in ("galaxy_da", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
