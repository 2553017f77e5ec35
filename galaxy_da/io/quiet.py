"""Silence about what others' libraries are told of their own calls."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_lsdb"]


@contextmanager
def quiet_lsdb() -> Iterator[None]:
    """Silence what LSDB's own calls are told: about the next pandas, and files read slowly."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Computing partitions from catalog parquet files")
        warnings.filterwarnings(
            "ignore", category=DeprecationWarning, module=r"(lsdb|nested_pandas|hats|hats_import)\b"
        )
        yield
