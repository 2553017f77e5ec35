"""The ``galaxy-da`` command: a shell that loads only the verb asked for.

Each package lists its verbs under the entry-point group ``galaxy_da.commands.extract``. A
user's mistake
(`GalaxyDAError`) ends as one line on stderr and exit status 2. A parameter that is a `UPath` takes
a path or a URL, one that is a `Path` only a path of this machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ParameterInfo
from upath import UPath

from galaxy_da.errors import GalaxyDAError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "AsJson",
    "Engine",
    "Out",
    "Scheduler",
    "SurveyFiles",
    "check_engine",
    "main",
    "print_result",
    "print_table",
    "run_function",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Out = Annotated[UPath, typer.Option(help="Where to write.")]
SurveyFiles = Annotated[
    list[UPath] | None,
    typer.Option("--survey-file", help="TOML definition of a survey that is not built in."),
]
Engine = Annotated[str, typer.Option(help="local, or dask for what is larger than a machine.")]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Address of a Dask scheduler; by default one is started here."),
]

_GROUP = "galaxy_da.commands"
_INTERRUPTED = 130
"""What Typer makes of `KeyboardInterrupt`."""


class _Verbs(TyperGroup):
    """Commands found by entry point, loaded when named."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(entry.name for entry in entry_points(group=_GROUP))

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        for entry in entry_points(group=_GROUP, name=cmd_name):
            return _command_of(entry.load(), entry.name)
        return None


_shell = typer.Typer(
    cls=_Verbs, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


@_shell.callback()
def _about() -> None:
    """One latent space for galaxy images of many surveys.

    Example: galaxy-da demo --out demo
    """


def _command_of(function: Callable[..., None], name: str) -> TyperCommand:
    _read_paths(function)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name=name)(function)
    command = typer.main.get_command(app)
    assert isinstance(command, TyperCommand)
    return command


def _read_paths(function: Callable[..., None]) -> None:
    """Give the parameters of a verb that are paths, or may be URLs, what reads them."""
    from galaxy_da.io.storage import location

    function.__annotations__ = get_type_hints(function, include_extras=True)
    for hint in function.__annotations__.values():
        kind, *notes = get_args(hint) or [None]
        kinds = {kind, *get_args(kind), *get_args(get_args(kind)[0] if get_args(kind) else None)}
        for info in notes:
            if isinstance(info, ParameterInfo) and info.parser is None and kinds & {Path, UPath}:
                info.parser = location if UPath in kinds else _local
                info.metavar = info.metavar or "PATH"


def _local(text: str | Path) -> Path:
    if "://" in str(text):
        raise typer.BadParameter(f"takes a path of this machine, not the URL {text}")
    return Path(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows ``galaxy-da``; by default the process's own.

    Returns
    -------
    int
        Exit status: 0, 2 for a mistake of the user's, 130 when interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    return _run(typer.main.get_command(_shell), given, "galaxy-da")


def run_function(
    function: Callable[..., None], name: str, arguments: Sequence[str] | None = None
) -> int:
    """Run a function as a command of its own, with the manners of `main`.

    Parameters
    ----------
    function : callable
        Its annotated parameters are the command's arguments and options.
    name : str
        Name of the command, as messages show it.
    arguments : sequence of str, optional
        By default the process's own.

    Returns
    -------
    int
        Exit status, as for `main`.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    return _run(_command_of(function, name), given, name)


def _run(command: Callable[..., Any], arguments: list[str], name: str) -> int:
    try:
        command(args=arguments, prog_name=name)
    except GalaxyDAError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            print(f"{name}: interrupted; run the same command again to go on", file=sys.stderr)
        return int(end.code or 0)
    return 0


def check_engine(engine: str, scheduler: str | None) -> bool:
    """Return whether an engine is Dask, and refuse one there is not."""
    if engine not in ("local", "dask"):
        raise typer.BadParameter(f"engine is one of local, dask, not {engine!r}")
    if scheduler is not None and engine == "local":
        raise typer.BadParameter("--scheduler cannot be used with --engine local")
    return engine == "dask"


def print_result(result: Mapping[str, Any], as_json: bool) -> None:
    """Print a result on stdout, as one JSON object or as aligned lines."""
    if as_json:
        print(json.dumps(result, indent=1, allow_nan=False))
        return
    width = max(map(len, result), default=0)
    for key, value in result.items():
        print(f"{key:<{width}}  {value}")


def print_table(table: pa.Table, as_json: bool) -> None:
    """Print a table's rows on stdout, as one JSON object or as aligned columns."""
    if as_json:
        print(json.dumps({"rows": table.to_pylist()}, indent=1, allow_nan=False))
        return
    print(table.to_pandas().to_string(index=False, float_format=lambda value: f"{value:.5g}"))
