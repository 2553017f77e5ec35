"""The index and the space over HTTP: FastAPI, tables in the Virtual Observatory's formats, jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from galaxy_da.service.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> object:
    """Import the app when it is asked for; job processes do without."""
    if name == "create_app":
        from galaxy_da.service.app import create_app

        return create_app
    raise AttributeError(f"module 'galaxy_da.service' has no attribute {name!r}")
