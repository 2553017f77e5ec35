"""Checks of the folders that training writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upath import UPath

__all__ = ["check_shared_folder"]


def check_shared_folder(out: UPath) -> None:
    """Refuse a URL to several processes, of which each would stage a folder of its own."""
    from galaxy_da.errors import StorageError
    from galaxy_da.io.storage import location
    from training.parallel.processes import everyones

    if len(everyones(None)) > 1 and not isinstance(location(out), Path):
        raise StorageError(
            f"{out}: several processes train in one folder that all of them see; give --out such a "
            "folder and copy it to the store afterwards"
        )
