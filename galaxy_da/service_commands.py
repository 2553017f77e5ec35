"""Verbs of the service: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["serve"]


def serve(
    index: Annotated[Path, typer.Option(help="Folder made by `index`.")],
    space: Annotated[str, typer.Option(help="Latent space it was built with.")],
    sample: Annotated[
        list[Path] | None, typer.Option(help="Sample table whose cutouts are shown; repeatable.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8765,
) -> None:
    """Serve an index and its space over HTTP, with a page at /.

    Example: galaxy-da serve --index index --space decals --sample decals/sample.parquet
    """
    import uvicorn

    from galaxy_da.index import LatentIndex
    from galaxy_da.service import create_app
    from galaxy_da.service.cutouts import SampleCutouts
    from galaxy_da.space import LatentSpace
    from galaxy_da.tables import Sample

    loaded = LatentSpace.load(space)
    cutouts = SampleCutouts([Sample(path) for path in sample], loaded) if sample else None
    uvicorn.run(create_app(loaded, LatentIndex.open(index), cutouts), host=host, port=port)
