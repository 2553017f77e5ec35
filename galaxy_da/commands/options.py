"""Options that several verbs share, and how bad arguments become a user's mistake."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from upath import UPath

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
OutFile = Annotated["UPath", typer.Option("--out", help="Parquet file to write.")]
OutFolder = Annotated["UPath", typer.Option("--out", help="Folder to write.")]
Space = Annotated[str, typer.Option(help="Latent space: a folder, or 'decals' (shipped).")]
SurveyFiles = Annotated[
    "list[UPath] | None",
    typer.Option("--survey-file", help="TOML definition of a survey that is not built in."),
]
Engine = Annotated[
    str, typer.Option(help="local, or dask for data larger than one machine's memory.")
]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Address of a Dask scheduler; by default one starts on this machine."),
]
Planes = Annotated[
    list[str] | None,
    typer.Option(
        help="Masks, weights or noise of --mosaic in other files, named likewise; may repeat."
    ),
]
Scenes = Annotated[
    "UPath | None", typer.Option(help="Sample table of real images to use as galaxies.")
]
IndexPath = Annotated["UPath", typer.Argument(metavar="INDEX", help="Folder made by `index`.")]
FeatureFolders = Annotated["list[UPath]", typer.Argument(help="Feature folders made by `extract`.")]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", help="COLUMN OPERATOR VALUE; repeat to require several."),
]
Cone = Annotated[
    tuple[float, float, float] | None,
    typer.Option("--cone", help="Only within a cone: RA, Dec [deg] and radius [arcsec]."),
]
Clean = Annotated[bool, typer.Option("--clean", help="Leave out images with quality flags.")]


def finite(value: float | None) -> float | None:
    """Refuse numbers that are not finite, which the least value of an option lets through."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


@contextmanager
def user_mistakes() -> Iterator[None]:
    """Report a `ValueError`, which means a bad argument, as the user's mistake."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def is_dask(engine: str, scheduler: str | None) -> bool:
    """Return True for the Dask engine, and refuse an engine that does not exist."""
    if engine not in ("local", "dask"):
        raise typer.BadParameter(f"engine is one of local, dask, not {engine!r}")
    if scheduler is not None and engine == "local":
        raise typer.BadParameter("--scheduler cannot be used with --engine local")
    return engine == "dask"
