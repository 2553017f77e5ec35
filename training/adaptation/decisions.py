"""Decisions of an adaptation, shared by its processes and kept for a continuation."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

from galaxy_da.errors import StorageError
from galaxy_da.io.files import ensure_folder, write_json
from training.adaptation.settings import AdaptSettings
from training.parallel.processes import agreed, is_first

T = TypeVar("T")


class Decisions:
    """Decisions of the first process, which all processes follow.

    The checkpoint folder of the settings gets a file ``decisions.json``. Without the folder,
    nothing is kept.
    """

    def __init__(self, settings: AdaptSettings) -> None:
        if settings.checkpoint is not None:
            ensure_folder(settings.checkpoint)
        self._path = settings.checkpoint_file("decisions.json")

    def claim(self, identity: str) -> None:
        """Mark the folder as that of an adaptation; raise StorageError if it is of another."""
        if self._path is not None and self.kept("adaptation", lambda: identity) != identity:
            raise StorageError(
                f"{self._path.parent}: is left over from another adaptation; delete it, or choose "
                "another output"
            )

    def kept(self, name: str, decide: Callable[[], T]) -> T:
        """Return an earlier decision, or decide now."""
        known: dict[str, T] = {}
        if self._path is not None and self._path.is_file():
            known = json.loads(self._path.read_text(encoding="utf-8"))
        if agreed(name in known):
            return agreed(known)[name]
        known[name] = agreed(decide())
        if self._path is not None and is_first():
            write_json(self._path, known)
        return known[name]
