"""Verbs of the service: serve, map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from galaxy_da.cli import AsJson, print_result

__all__ = ["draw", "serve"]


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
    from galaxy_da.latent_map import read_map
    from galaxy_da.service import create_app
    from galaxy_da.service.cutouts import SampleCutouts
    from galaxy_da.space import LatentSpace
    from galaxy_da.tables import Sample

    loaded = LatentSpace.load(space)
    cutouts = SampleCutouts([Sample(path) for path in sample], loaded) if sample else None
    opened = LatentIndex.open(index)
    app = create_app(loaded, opened, cutouts, drawn=read_map(index, opened))
    uvicorn.run(app, host=host, port=port)


def draw(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder made by `index`.")],
    method: Annotated[str, typer.Option(help="umap or pca.")] = "umap",
    sample: Annotated[int, typer.Option(min=16, help="Objects to fit on.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of the sample and of UMAP.")] = 0,
    json: AsJson = False,
) -> None:
    """Draw the latent space flat, for the service's map; the file goes beside the index.

    Example: galaxy-da map index
    """
    from typing import cast

    from galaxy_da.index import LatentIndex
    from galaxy_da.latent_map import Method, draw_map, write_map

    if method not in ("umap", "pca"):
        raise typer.BadParameter(f"method is umap or pca, not {method!r}")
    opened = LatentIndex.open(index)
    drawn = draw_map(opened, cast(Method, method), sample=sample, seed=seed, progress=True)
    path = write_map(drawn, opened, index)
    about = {"method": method, "objects": len(opened), "fitted_on": drawn.fitted_on}
    print_result({"map": str(path), **about}, json)
