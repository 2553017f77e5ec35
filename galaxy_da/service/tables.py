"""Tables as JSON, VOTable, CSV, Parquet or an Arrow stream, whichever the client asks for."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from astropy.io.votable import from_table, writeto
from astropy.io.votable.tree import Info
from astropy.table import Column
from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from galaxy_da.io.catalogue_output import add_descriptions, to_astropy
from galaxy_da.io.tables import read_metadata, with_metadata
from galaxy_da.service.errors import error_responses

__all__ = ["TABLE_RESPONSES", "Format", "TableAnswer", "table_response", "to_votable"]


class Format(StrEnum):
    """Formats of a table."""

    JSON = "json"
    VOTABLE = "votable"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"


MEDIA = {
    Format.JSON: "application/json",
    Format.VOTABLE: "application/x-votable+xml",
    Format.CSV: "text/csv",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.ARROW: "application/vnd.apache.arrow.stream",
}
_SUFFIX = {Format.VOTABLE: "vot"}


class ColumnDescription(BaseModel):
    """What a column holds."""

    name: str
    datatype: str
    unit: str
    ucd: str
    description: str


class TableAnswer(BaseModel):
    """A table in JSON; numbers that are not finite are null."""

    columns: list[ColumnDescription]
    rows: list[dict[str, Any]]
    meta: dict[str, Any]


TABLE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": TableAnswer,
        "description": "A table, in the format of `format` or `Accept`.",
        "content": {
            media: {"schema": {"type": "string", "format": "binary"}}
            for kind, media in MEDIA.items()
            if kind is not Format.JSON
        },
    },
    **error_responses(404, 422),
}


def table_response(
    request: Request,
    table: pa.Table,
    asked: Format | None = None,
    meta: Mapping[str, Any] | None = None,
    name: str = "table",
) -> Response:
    """Answer with a table.

    Parameters
    ----------
    request : Request
        Its ``Accept`` header counts where `asked` is None.
    table : pa.Table
        Its own metadata go out too.
    asked : Format, optional
    meta : mapping, optional
        JSON values about the table as a whole.
    name : str
        Of the file a browser saves.
    """
    kind = asked or _accepted(request.headers.get("accept", ""))
    table = with_metadata(table, {**read_metadata(table.schema), **(meta or {})})
    headers = {"Vary": "Accept"}
    if kind is not Format.JSON:
        headers["Content-Disposition"] = f'attachment; filename="{name}.{_SUFFIX.get(kind, kind)}"'
    return Response(_WRITERS[kind](table), media_type=MEDIA[kind], headers=headers)


def to_votable(table: pa.Table) -> bytes:
    """Write a table as VOTable, its metadata as INFO elements."""
    columns = to_astropy(table)
    for name in columns.colnames:
        if columns[name].dtype.kind == "U":
            columns[name] = _of_any_length(columns[name])
    votable = from_table(columns)
    resource = votable.resources[0]
    for key, value in read_metadata(table.schema).items():
        text = value if isinstance(value, str) else json.dumps(value)
        resource.infos.append(Info(name=key, value=text))
    out = io.BytesIO()
    writeto(votable, out, tabledata_format="binary2")
    return out.getvalue()


def _of_any_length(column: Column) -> Column:
    """Let text be as long as it is, so that two answers have one kind of column."""
    kind = "char" if all(map(str.isascii, column)) else "unicodeChar"
    return Column(
        column.astype(object),
        description=column.description,
        meta={**column.meta, "_votable_string_dtype": kind},  # how astropy is told
    )


def _to_json(table: pa.Table) -> bytes:
    columns = [_plain(column) for column in table.columns]
    rows = [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]
    meta = {key: _finite(value) for key, value in read_metadata(table.schema).items()}
    text = json.dumps({"rows": rows, "meta": meta}, allow_nan=False, separators=(",", ":"))
    return f'{{"columns":{_notes(table.schema.remove_metadata())},{text[1:]}'.encode()


@lru_cache(maxsize=256)
def _notes(schema: pa.Schema) -> str:
    """Say what columns try_lock, as JSON."""
    notes = [
        ColumnDescription(
            name=field.name,
            datatype=str(field.type),
            **{key: _note(field, key) for key in ("unit", "ucd", "description")},
        ).model_dump()
        for field in add_descriptions(schema.empty_table()).schema
    ]
    return json.dumps(notes, separators=(",", ":"))


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return a column's values as JSON has them."""
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(column.type) or pa.types.is_nested(column.type):
        return [_finite(value) for value in values]
    if pa.types.is_temporal(column.type) or pa.types.is_binary(column.type):
        return [None if value is None else str(value) for value in values]
    return values


def _to_csv(table: pa.Table) -> bytes:
    flat = [
        column.cast(pa.string()) if not pa.types.is_nested(column.type) else _text(column)
        for column in table.columns
    ]
    out = io.BytesIO()
    pa.csv.write_csv(pa.table(dict(zip(table.column_names, flat, strict=True))), out)
    return out.getvalue()


def _to_parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(add_descriptions(table), out, compression="zstd")
    return out.getvalue()


def to_arrow(table: pa.Table) -> bytes:
    """Write a table as an Arrow IPC stream."""
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


_WRITERS: Mapping[Format, Callable[[pa.Table], bytes]] = {
    Format.JSON: _to_json,
    Format.VOTABLE: to_votable,
    Format.CSV: _to_csv,
    Format.PARQUET: _to_parquet,
    Format.ARROW: lambda table: to_arrow(add_descriptions(table)),
}


def _accepted(header: str) -> Format:
    """Return the format a client likes best, JSON where it names none of ours."""
    kinds = {media: kind for kind, media in MEDIA.items()}
    kinds |= {"application/vnd.apache.arrow": Format.ARROW, "text/xml": Format.VOTABLE}
    liked = []
    for item in header.split(","):
        media, _, rest = item.partition(";")
        quality = rest.strip().removeprefix("q=") if rest.strip().startswith("q=") else "1"
        try:
            liked.append((float(quality), media.strip().lower()))
        except ValueError:
            continue
    for _, media in sorted(liked, key=lambda pair: -pair[0]):
        if media in kinds:
            return kinds[media]
    return Format.JSON


def _note(field: pa.Field, key: str) -> str:
    return bytes((field.metadata or {}).get(key.encode(), b"")).decode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


def _text(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([None if v is None else json.dumps(_finite(v)) for v in column.to_pylist()])
