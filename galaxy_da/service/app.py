"""The app, made of the parts it is handed."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from galaxy_da.index import LatentIndex
from galaxy_da.latent_map import LatentMap, draw_map
from galaxy_da.service import images, maps, objects, queries
from galaxy_da.service.cutouts import CutoutSource
from galaxy_da.service.errors import add_error_handlers
from galaxy_da.service.limits import Limits
from galaxy_da.service.parts import Service
from galaxy_da.space import LatentSpace

__all__ = ["create_app"]

_PAGE = Path(__file__).resolve().parents[1] / "page"


def create_app(
    space: LatentSpace,
    index: LatentIndex,
    cutouts: CutoutSource | None = None,
    *,
    drawn: LatentMap | None = None,
    limits: Limits | None = None,
) -> FastAPI:
    """Make the service's app.

    Parameters
    ----------
    space : LatentSpace
        Encodes and decodes.
    index : LatentIndex
        Built with that space.
    cutouts : CutoutSource, optional
        Gives the objects' own pixels.
    drawn : LatentMap, optional
        Where the objects lie in the plane; by default their principal components.
    limits : Limits, optional

    Returns
    -------
    FastAPI

    Raises
    ------
    LatentIndexError
        If the index is of another space.
    """
    index.check_space(space.id)
    app = FastAPI(title="galaxy_da", version=version("galaxy_da"))
    app.state.service = Service(
        space=space,
        index=index,
        cutouts=cutouts,
        drawn=drawn or draw_map(index, "pca"),
        limits=limits or Limits(),
    )
    add_error_handlers(app)
    for part in (objects, queries, images, maps):
        app.include_router(part.router)
    app.get("/", include_in_schema=False)(_page)
    app.mount("/page", StaticFiles(directory=_PAGE, check_dir=False), name="page")
    return app


def _page() -> FileResponse:
    return FileResponse(_PAGE / "index.html")
