"""Verbs of the index folder: build, add, delete, rebuild and info."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from galaxy_da.cli import VerbGroup
from galaxy_da.commands.options import (
    AsJson,
    Engine,
    FeatureFolders,
    IndexPath,
    OutFolder,
    Scheduler,
    Where,
    is_dask,
    user_mistakes,
)
from galaxy_da.commands.printing import print_result

if TYPE_CHECKING:
    from upath import UPath


def build(
    features: FeatureFolders,
    out: OutFolder,
    kind: Annotated[str, typer.Option(help="Kind of index: auto, flat or ivfpq.")] = "auto",
    dry_run: Annotated[bool, typer.Option(help="Only print the cost, and write nothing.")] = False,
    engine: Engine = "local",
    scheduler: Scheduler = None,
    json: AsJson = False,
) -> None:
    """Build an index of features of all surveys of one space.

    With --engine dask workers code the vectors, which takes most of the time of an ivfpq index.

    Example: galaxy-da index features/decals features/sdss --out index
    """
    from galaxy_da.index import cost, create
    from galaxy_da.index.sources import Sources

    _check_kind(kind)
    on_dask = is_dask(engine, scheduler)
    if dry_run:
        opened = Sources(features)
        print_result(cost(opened.n_rows, opened.dimension, kind).as_dict(), json)
        return
    if on_dask:
        from galaxy_da.cluster.index import create_on_workers

        create_on_workers(out, features, kind=kind, scheduler=scheduler)
    else:
        create(out, features, kind=kind)
    print_result(_described(out), json)


def add(
    index: IndexPath,
    features: FeatureFolders,
    replace: Annotated[bool, typer.Option(help="Replace objects with the same keys.")] = False,
    json: AsJson = False,
) -> None:
    """Add features to an index, also while others read it.

    Example: galaxy-da index add index features/hsc
    """
    from galaxy_da import index as indexes

    added = indexes.add(index, features, replace=replace)
    print_result({"added": added, **_described(index)}, json)


def delete(
    index: IndexPath,
    id: Annotated[list[str] | None, typer.Option(help="Object, SURVEY:OBJECT_ID.")] = None,
    ids: Annotated[UPath | None, typer.Option(help="Text file of objects, one a line.")] = None,
    survey: Annotated[str | None, typer.Option(help="Delete all objects of a survey.")] = None,
    where: Where = None,
    json: AsJson = False,
) -> None:
    """Delete objects from an index, also while others read it.

    Example: galaxy-da index delete index --survey hsc --where "flags != 0"
    """
    from galaxy_da import index as indexes

    named = [*(id or []), *(_lines(ids) if ids is not None else [])]
    chosen = survey is not None or bool(where)
    if bool(named) == chosen:
        raise typer.BadParameter("give --id or --ids, or else --survey or --where")
    with user_mistakes():
        gone = indexes.delete(
            index, (lambda opened: opened.select(survey, where=where or ())) if chosen else named
        )
    print_result({"deleted": gone, **_described(index)}, json)


def rebuild(
    index: IndexPath,
    kind: Annotated[
        str | None,
        typer.Option(help="Kind of index: auto, flat or ivfpq; by default the present kind."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Rewrite an index as one segment, without deleted objects.

    Example: galaxy-da index rebuild index --kind ivfpq
    """
    from galaxy_da import index as indexes

    _check_kind(kind or "auto")
    indexes.rebuild(index, kind=kind)
    print_result(_described(index), json)


def info(
    index: IndexPath,
    check: Annotated[bool, typer.Option(help="Check every file against its hash.")] = False,
    json: AsJson = False,
) -> None:
    """Describe the content of an index and its kind of search.

    Example: galaxy-da index info index --check
    """
    print_result({**_described(index, whole=check), **({"check": "whole"} if check else {})}, json)


def _described(path: UPath, *, whole: bool = False) -> dict[str, Any]:
    """Rows, surveys and segments of an index folder."""
    from galaxy_da.index import StoredIndex

    opened = StoredIndex.open(path, whole=whole)
    files = [file for part in opened.segments if part.files for file in part.files.files()]
    return {
        "index": str(path),
        "rows": len(opened),
        "dead_rows": sum(len(part.deleted) for part in opened.segments),
        "surveys": ", ".join(opened.surveys),
        "disk_mb": float(f"{sum(file.bytes for file in files) / 1e6:.3g}"),
        **{
            f"segment {number}": f"{part.kind}: {part.reason}"
            for number, part in enumerate(opened.segments, 1)
        },
    }


def _check_kind(kind: str) -> None:
    from galaxy_da.index.kinds import check_kind

    with user_mistakes():
        check_kind(kind)


def _lines(path: UPath) -> list[str]:
    from galaxy_da.io.storage import read_text

    return [line for line in read_text(path).split("\n") if line]


VERBS = VerbGroup(
    summary="""Build, change and describe an index of features.

    `index FEATURES... --out INDEX` is short for `index build`.

    Example: galaxy-da index build features/decals features/sdss --out index
    """,
    verbs={"build": build, "add": add, "delete": delete, "rebuild": rebuild, "info": info},
)
