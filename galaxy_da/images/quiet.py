"""Suppress astropy's remarks about single files, which would repeat for every galaxy."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

__all__ = ["quiet"]

_LOCK = RLock()
"""The filters of `warnings` and the level of a logger belong to the process, not to a thread."""


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings and astropy's log, in one thread at a time."""
    from astropy import log

    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = log.level
        log.setLevel("ERROR")
        try:
            yield
        finally:
            log.setLevel(level)
