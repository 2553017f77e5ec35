"""How a value reaches each Dask worker once: as a plugin, which the scheduler keeps for new ones.

Apart from `galaxy_da.cluster.scheduling`, since its base class needs Dask when imported.
"""

from __future__ import annotations

from typing import Any

from dask.distributed import WorkerPlugin

__all__ = ["Carrier"]


class Carrier(WorkerPlugin):  # type: ignore[misc]
    """Holds a value.

    Parameters
    ----------
    value : object
        What tasks find by the plugin's name.
    """

    def __init__(self, value: Any) -> None:
        self.value = value
