"""Suppress astropy's remarks about single files, which would repeat for every galaxy."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

_LOCK = RLock()
"""The filters of `warnings` and of a logger belong to the process, not to a thread."""


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings and astropy's log below errors, in one thread at a time."""
    from astropy import log

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.addFilter(is_error)  # a level would clear the caches of all loggers, which takes longer
        try:
            yield
        finally:
            log.removeFilter(is_error)
