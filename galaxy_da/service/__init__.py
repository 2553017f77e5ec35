"""The index and the space over HTTP: FastAPI, tables in the Virtual Observatory's formats, jobs."""

from galaxy_da.service.app import create_app

__all__ = ["create_app"]
