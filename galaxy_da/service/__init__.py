"""HTTP service of an index and its latent space: FastAPI routes, tables for VO clients, jobs.

`app` makes the application, `run` serves it; `routes/`, `uploads/` and `jobs/` hold the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from galaxy_da.service.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> object:
    """Import the application on first use, since job processes do not need it."""
    if name == "create_app":
        from galaxy_da.service.app import create_app

        return create_app
    raise AttributeError(f"module 'galaxy_da.service' has no attribute {name!r}")
