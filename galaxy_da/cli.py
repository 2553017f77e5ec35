"""The ``galaxy-da`` command, which loads only the verb that is called.

Each package lists its verbs under the entry-point group ``galaxy_da.commands``. A user's mistake
(`GalaxyDAError`) prints one line on stderr and ends with exit status 2.
"""

from __future__ import annotations

import inspect
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ParameterInfo

from galaxy_da.errors import GalaxyDAError, SampleWarning

_ENTRY_POINTS = "galaxy_da.commands"
_INTERRUPTED = 130  # exit status that Typer gives to KeyboardInterrupt
REPORTED = 3
"""Exit status of a process that leaves the report of an error to another one."""

SECTIONS = {
    "Start here": ("demo",),
    "Data": ("sample", "fetch", "crossmatch", "select", "simulate"),
    "Adapt": ("surveys", "pretrain", "adapt", "evaluate", "probe"),
    "Extract and query": (
        "extract",
        "export",
        "index",
        "map",
        "similar",
        "same",
        "distances",
        "duplicates",
        "outliers",
        "rank",
        "interpolate",
    ),
    "Serve": ("serve", "token"),
}
"""Verbs in the order of ``galaxy-da --help``, by job."""

EXTRAS = {
    "archives": ("astroquery", "httpx", "matplotlib", "mocpy", "pyvo", "tenacity"),
    "hats": ("dask", "distributed", "hats", "hats_import", "lsdb", "tenacity"),
    "plots": ("matplotlib", "umap"),
    "s3": ("s3fs",),
    "service": (
        "fastapi",
        "fastapi_offline",
        "httpx",
        "prometheus_client",
        "starlette",
        "uvicorn",
    ),
}
"""Packages that each optional extra brings, by the names under which Python imports them."""


@dataclass(frozen=True, kw_only=True)
class VerbGroup:
    """Verbs that share one name, such as ``index add`` and ``index delete``.

    Attributes
    ----------
    summary : str
        Text of the group's help.
    verbs : mapping of str to callable
        The functions by name. The first runs where no name is given.
    """

    summary: str
    verbs: Mapping[str, Callable[..., None]]


class _Verbs(TyperGroup):
    """Commands found by entry point, imported when they are called."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return [name for names in _sections().values() for name in names]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | TyperGroup | None:  # type: ignore[override]
        if cmd_name not in _installed():
            return None
        verb = _installed()[cmd_name].load()
        build = _group_of if isinstance(verb, VerbGroup) else _command_of
        return build(verb, cmd_name)

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        for title, names in _sections().items():
            with formatter.section(title):
                formatter.write_dl([(name, _summary(_installed()[name].load())) for name in names])


class _GroupWithDefault(TyperGroup):
    """Commands of which the first is called where no name is given."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if args and args[0] not in (*self.commands, "--help"):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


@cache
def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=_ENTRY_POINTS)}


def _summary(verb: Any) -> str:
    """Return the first line of a verb's help, without building the command."""
    text = verb.summary if isinstance(verb, VerbGroup) else inspect.getdoc(verb) or ""
    return str(text).partition("\n")[0].removesuffix(".")


def _sections() -> dict[str, list[str]]:
    """Return the installed verbs by section; those of other packages come last."""
    installed = set(_installed())
    known = {title: [n for n in names if n in installed] for title, names in SECTIONS.items()}
    others = sorted(installed.difference(*known.values()))
    return known | ({"Others": others} if others else {})


def _version(show: bool) -> None:
    if show:
        from galaxy_da import __version__

        print(f"galaxy-da {__version__}")
        raise typer.Exit


_shell = typer.Typer(
    cls=_Verbs, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


@_shell.callback()
def _about(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Put galaxy images of many surveys into one latent space, and query it.

    Example: galaxy-da demo --out demo
    """


def _group_of(group: VerbGroup, name: str) -> TyperGroup:
    app = typer.Typer(
        cls=_GroupWithDefault, help=group.summary, add_completion=False, rich_markup_mode=None
    )
    for verb, function in group.verbs.items():
        _read_paths(function)
        app.command(name=verb)(function)
    command = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    command.name = name
    return command


def _command_of(function: Callable[..., None], name: str) -> TyperCommand:
    _read_paths(function)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name=name)(function)
    command = typer.main.get_command(app)
    assert isinstance(command, TyperCommand)
    return command


def _read_paths(function: Callable[..., None]) -> None:
    """Set the parsers of a verb's paths: a `UPath` may be a URL, a `Path` may not."""
    from upath import UPath

    from galaxy_da.io.storage import location

    names = {"UPath": UPath}  # verbs import it for type checkers only, since it is slow
    function.__annotations__ = get_type_hints(function, None, names, include_extras=True)
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
        The words after ``galaxy-da``; by default those of the process.

    Returns
    -------
    int
        Exit status: 0, 1 where a verb could use no row, 2 for a user's mistake, `REPORTED`, or 130
        when interrupted.
    """
    return _run(typer.main.get_command(_shell), arguments, "galaxy-da")


def run_function(
    function: Callable[..., None], name: str, arguments: Sequence[str] | None = None
) -> int:
    """Run a function as a command of its own, with the error handling of `main`.

    Its annotated parameters become arguments and options; `name` is the command in messages.
    Returns the exit status.
    """
    return _run(_command_of(function, name), arguments, name)


def _run(command: Callable[..., Any], arguments: Sequence[str] | None, name: str) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    with _noted_interrupts() as interrupts, _short_warnings(name):
        try:
            status, message = _outcome(command, given, name)
        except Exception:
            if not interrupts:
                raise
            status, message = _INTERRUPTED, ""
    if status == _INTERRUPTED or (status not in (0, REPORTED) and interrupts):
        status, message = _INTERRUPTED, "interrupted; run the same command again to go on"
    if message:
        print(f"{name}: {message}", file=sys.stderr)
    return status


def _outcome(command: Callable[..., Any], given: list[str], name: str) -> tuple[int, str]:
    """Run a command; return its exit status and the message of a user's mistake."""
    try:
        command(args=given, prog_name=name)
    except GalaxyDAError as error:
        return 2, str(error)
    except ModuleNotFoundError as error:
        extra = _extra_with(error)
        if extra is None:
            raise
        needed = f"this needs {error.name}, which is not installed"
        return 2, f"{needed}; run `pip install 'galaxy_da[{extra}]'`"
    except SystemExit as end:
        return int(end.code or 0), ""
    return 0, ""


@contextmanager
def _short_warnings(name: str) -> Iterator[None]:
    """Print a `SampleWarning` in one line, without the line of code that raised it."""
    with warnings.catch_warnings():
        before = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, SampleWarning):
                print(f"{name}: warning: {message}", file=sys.stderr)
            else:
                before(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


@contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """Yield a list of the SIGINT signals received; a library may turn one into another error."""
    noted: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield noted
        return

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _extra_with(error: ModuleNotFoundError) -> str | None:
    """Return the extra that brings a missing package, None if no extra does.

    Where several do, it is that of the room whose import failed.
    """
    top = (error.name or "").partition(".")[0]
    extras = [extra for extra, packages in EXTRAS.items() if top in packages]
    frames = traceback.extract_tb(error.__traceback__)
    rooms = {part for frame in frames for part in Path(frame.filename).parts}
    rooms |= {"hats"} if "cluster" in rooms else set()
    return next((extra for extra in extras if extra in rooms), next(iter(extras), None))
