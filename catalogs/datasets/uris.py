"""Write the URI of an image for a sample table."""

from __future__ import annotations

import os
from pathlib import Path

from galaxy_da.io.storage import Location

__all__ = ["relative_uri"]


def relative_uri(file: Location, folder: Location) -> str:
    """Return a file relative to a folder; a URL, or an absolute path if the folder is a URL."""
    if isinstance(file, Path):
        return os.path.relpath(file, folder) if isinstance(folder, Path) else str(file.resolve())
    return str(file)
