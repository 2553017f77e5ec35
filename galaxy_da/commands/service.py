"""Verbs of the service: serve, token, map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from galaxy_da.commands.options import AsJson
from galaxy_da.commands.printing import print_result

if TYPE_CHECKING:
    from upath import UPath


def serve(
    index: Annotated[UPath, typer.Option(help="Folder made by `index`.")],
    space: Annotated[str, typer.Option(help="Latent space that the index was built with.")],
    sample: Annotated[
        list[UPath] | None,
        typer.Option(help="Sample table whose cutouts are shown; may be given several times."),
    ] = None,
    jobs: Annotated[
        Path | None, typer.Option(help="Folder for jobs that clients start; without it, no jobs.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="Tokens of clients that may write, made by `token`; without it, everybody may."
        ),
    ] = None,
    limits: Annotated[
        Path | None, typer.Option(help="TOML of limits that differ from the defaults.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8765,
    workers: Annotated[int, typer.Option(min=1, help="Number of worker processes.")] = 1,
    open: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve an index and its space over HTTP, with a page.

    Example: galaxy-da serve --index index --space decals --sample decals/sample.parquet
    """
    from galaxy_da.service.limits import load_limits
    from galaxy_da.service.run import Settings
    from galaxy_da.service.run import serve as run

    run(
        Settings(
            index=index,
            space=space,
            samples=tuple(sample or ()),
            jobs=jobs,
            token_file=token_file,
            limits=load_limits(limits),
            host=host,
            port=port,
            workers=workers,
            browse=open,
        )
    )


def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the client.")],
    file: Annotated[Path, typer.Option(help="Token file of the service.")],
    days: Annotated[
        float | None, typer.Option(min=0, help="Validity [days]; by default without end.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Make a token for the service; it is printed once and not stored.

    Example: galaxy-da token alice --file tokens.json --days 90
    """
    from galaxy_da.service.tokens import add_token

    print_result({"token": add_token(file, name, days)}, json)


def draw(
    index: Annotated[UPath, typer.Argument(metavar="INDEX", help="Folder made by `index`.")],
    method: Annotated[str, typer.Option(help="Method: umap or pca.")] = "umap",
    sample: Annotated[
        int, typer.Option(min=16, help="Number of objects to fit the map to.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(help="Random seed of the sample and of UMAP.")] = 0,
    json: AsJson = False,
) -> None:
    """Lay out the latent space in two dimensions, for the page of `serve`.

    Example: galaxy-da map index
    """
    from typing import cast

    from galaxy_da.index.latent_map import Method, draw_map, write_map
    from galaxy_da.latent_index import LatentIndex

    if method not in ("umap", "pca"):
        raise typer.BadParameter(f"method is umap or pca, not {method!r}")
    opened = LatentIndex.open(index)
    drawn = draw_map(opened, cast(Method, method), sample=sample, seed=seed, progress=True)
    path = write_map(drawn, opened, index)
    about = {"method": method, "objects": len(opened), "fitted_on": drawn.fitted_on}
    print_result({"map": str(path), **about}, json)
