"""Dask plugin that brings a value to each worker once, and to workers that join later.

It is apart from `galaxy_da.cluster.scheduling` because its base class needs Dask when imported.
"""

from __future__ import annotations

from typing import Any

from dask.distributed import WorkerPlugin

__all__ = ["Broadcast"]


class Broadcast(WorkerPlugin):  # type: ignore[misc]
    """A value that tasks find by the plugin's name."""

    def __init__(self, value: Any) -> None:
        self.value = value
