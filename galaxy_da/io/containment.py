"""Containment of a process that reads a table of somebody else, such as a job of the service.

After `seal`, every file that a table names is looked up below the table's folder, and the process
cannot reach another machine. A process cannot undo it.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

from galaxy_da.errors import CutoutError

_sealed = False
_NETWORK = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind")
_LOOKUP = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_LINKING = (".h5", ".hdf5")  # HDF5 files can name other files


class Box:
    """A folder out of which a table cannot name a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)

    def path(self, uri: str) -> Path:
        """Return the file of a relative path, symlinks resolved; CutoutError if it is outside."""
        real = "" if "\0" in uri or "://" in uri else os.path.realpath(Path(self._folder, uri))
        if not real or os.path.commonpath([real, self._folder]) != self._folder:
            raise CutoutError(f"{uri!r} does not lie in the folder of the table")
        if Path(real).suffix.lower() in _LINKING:
            raise CutoutError(f"{uri!r}: HDF5 files are refused, since they can read other files")
        return Path(real)


def seal() -> None:
    """Contain this process from now on; a connection to a host raises PermissionError."""
    global _sealed
    if not _sealed:
        _sealed = True
        sys.addaudithook(_refuse_network)


def is_sealed() -> bool:
    """Test if `seal` was called in this process."""
    return _sealed


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _LOOKUP or (event in _NETWORK and arguments[0].family != socket.AF_UNIX):
        raise PermissionError(f"a sealed process may not use the network ({event})")
