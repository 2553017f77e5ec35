"""Table answers in the format that the client requests: JSON, VOTable, CSV, Parquet or Arrow."""

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

__all__ = [
    "MEDIA",
    "TABLE_RESPONSES",
    "Format",
    "finite",
    "json_values",
    "table_response",
    "to_arrow",
    "to_votable",
]


class Format(StrEnum):
    """Format of a table answer."""

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
    """Meaning of a column."""

    name: str
    datatype: str
    unit: str
    ucd: str
    description: str


class TableAnswer(BaseModel):
    """Table as JSON; NaN and infinite numbers become null."""

    columns: list[ColumnDescription]
    rows: list[dict[str, Any]]
    meta: dict[str, Any]


TABLE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": TableAnswer,
        "description": "Table in the format that `format` or `Accept` names.",
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
    format: Format | None = None,
    meta: Mapping[str, Any] | None = None,
    name: str = "table",
) -> Response:
    """Return a response that holds a table.

    Parameters
    ----------
    request : Request
        Request whose ``Accept`` header is used if `format` is None.
    table : pa.Table
        Table; its metadata are sent too.
    format : Format, optional
    meta : mapping, optional
        Further JSON metadata of the table.
    name : str
        Stem of the file name in a browser's download.
    """
    kind = format or _accepted(request.headers.get("accept", ""))
    table = with_metadata(table, {**read_metadata(table.schema), **(meta or {})})
    headers = {"Vary": "Accept"}
    if kind is not Format.JSON:
        headers["Content-Disposition"] = f'attachment; filename="{name}.{_SUFFIX.get(kind, kind)}"'
    return Response(_WRITERS[kind](table), media_type=MEDIA[kind], headers=headers)


def to_votable(table: pa.Table) -> bytes:
    """Encode a table as VOTable, its metadata as INFO elements."""
    columns = to_astropy(table)
    for name in columns.colnames:
        if columns[name].dtype.kind == "U":
            columns[name] = _variable_length(columns[name])
    votable = from_table(columns)
    resource = votable.resources[0]
    for key, value in read_metadata(table.schema).items():
        text = value if isinstance(value, str) else json.dumps(value)
        resource.infos.append(Info(name=key, value=text))
    out = io.BytesIO()
    writeto(votable, out, tabledata_format="binary2")
    return out.getvalue()


def _variable_length(column: Column) -> Column:
    """Give a text column variable length, so that its type is the same in every answer."""
    kind = "char" if all(map(str.isascii, column)) else "unicodeChar"
    return Column(
        column.astype(object),
        description=column.description,
        meta={**column.meta, "_votable_string_dtype": kind},  # read by astropy
    )


def _to_json(table: pa.Table) -> bytes:
    columns = [json_values(column) for column in table.columns]
    rows = [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]
    meta = {key: finite(value) for key, value in read_metadata(table.schema).items()}
    text = json.dumps({"rows": rows, "meta": meta}, allow_nan=False, separators=(",", ":"))
    return f'{{"columns":{_descriptions(table.schema.remove_metadata())},{text[1:]}'.encode()


@lru_cache(maxsize=256)
def _descriptions(schema: pa.Schema) -> str:
    """Return the descriptions of columns as JSON."""
    columns = [
        ColumnDescription(
            name=field.name,
            datatype=str(field.type),
            **{key: _metadata(field, key) for key in ("unit", "ucd", "description")},
        ).model_dump()
        for field in add_descriptions(schema.empty_table()).schema
    ]
    return json.dumps(columns, separators=(",", ":"))


def json_values(column: pa.ChunkedArray) -> list[Any]:
    """Convert a column to JSON values; NaN and infinite numbers become None."""
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(column.type) or pa.types.is_nested(column.type):
        return [finite(value) for value in values]
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
    """Encode a table as an Arrow IPC stream."""
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
    """Return the client's preferred format; JSON if it accepts none of ours."""
    kinds = {media: kind for kind, media in MEDIA.items()}
    kinds |= {"application/vnd.apache.arrow": Format.ARROW, "text/xml": Format.VOTABLE}
    accepted = []
    for item in header.split(","):
        media, _, rest = item.partition(";")
        quality = rest.strip().removeprefix("q=") if rest.strip().startswith("q=") else "1"
        try:
            accepted.append((float(quality), media.strip().lower()))
        except ValueError:
            continue
    for _, media in sorted(accepted, key=lambda pair: -pair[0]):
        if media in kinds:
            return kinds[media]
    return Format.JSON


def _metadata(field: pa.Field, key: str) -> str:
    return bytes((field.metadata or {}).get(key.encode(), b"")).decode()


def finite(value: Any) -> Any:
    """Replace NaN and infinite numbers of a JSON value by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value


def _text(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([None if v is None else json.dumps(finite(v)) for v in column.to_pylist()])
