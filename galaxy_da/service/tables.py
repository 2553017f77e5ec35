"""Table answers in the format that the client requests: JSON, VOTable, CSV, Parquet, Arrow, DS9."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from astropy.io.votable import writeto
from astropy.io.votable.tree import Info
from fastapi.responses import Response
from pydantic import BaseModel, TypeAdapter

from galaxy_da.io.catalogue_output import to_votable
from galaxy_da.io.column_types import json_rows, text_values
from galaxy_da.io.described_tables import add_descriptions
from galaxy_da.io.regions import to_ds9_regions
from galaxy_da.io.tables import read_metadata, with_metadata
from galaxy_da.service.errors import error_responses


class Format(StrEnum):
    """Format of a table answer."""

    JSON = "json"
    VOTABLE = "votable"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"
    DS9 = "ds9"


MEDIA = {
    Format.JSON: "application/json",
    Format.VOTABLE: "application/x-votable+xml",
    Format.CSV: "text/csv",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.ARROW: "application/vnd.apache.arrow.stream",
    Format.DS9: "text/x-ds9-regions",
}
BINARY = {"type": "string", "format": "binary"}
"""OpenAPI schema of a file."""

_ACCEPT_CHARACTERS = 1000
_SUFFIX = {Format.VOTABLE: "vot", Format.DS9: "reg"}
_JSON = TypeAdapter[Any](Any)


class ColumnDescription(BaseModel):
    """Meaning of a column."""

    name: str
    datatype: str
    unit: str
    ucd: str
    description: str


class TableAnswer(BaseModel):
    """Table as JSON; NaN and infinite numbers become null, integers beyond 2⁵³ text."""

    columns: list[ColumnDescription]
    rows: list[dict[str, Any]]
    meta: dict[str, Any]


TABLE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": TableAnswer,
        "description": "Table in the format that `format` or `Accept` names.",
        "content": {
            media: {"schema": BINARY} for kind, media in MEDIA.items() if kind is not Format.JSON
        },
    },
    **error_responses(404, 422),
}


def table_response(
    accept: str,
    table: pa.Table,
    format: Format | None = None,
    meta: Mapping[str, Any] | None = None,
    name: str = "table",
) -> Response:
    """Return a table in a format, by default the one that an ``Accept`` header asks for.

    `meta` is added to the metadata of the table. `name` is the stem of the file in a download.
    """
    kind = format or accepted_format(accept)
    table = with_metadata(table, {**read_metadata(table.schema), **(meta or {})})
    headers = {"Vary": "Accept"}
    if kind is not Format.JSON:
        headers["Content-Disposition"] = f'attachment; filename="{name}.{_SUFFIX.get(kind, kind)}"'
    return Response(_WRITERS[kind](table), media_type=MEDIA[kind], headers=headers)


def encode_votable(table: pa.Table) -> bytes:
    """Encode a table as VOTable, its metadata as INFO elements."""
    votable = to_votable(table)
    for key, value in read_metadata(table.schema).items():
        text = value if isinstance(value, str) else json.dumps(value)
        votable.resources[0].infos.append(Info(name=key, value=text))
    out = io.BytesIO()
    writeto(votable, out, tabledata_format="binary2")
    return out.getvalue()


def encode_json(value: Mapping[str, Any]) -> bytes:
    """Encode as JSON; NaN and infinite numbers become null."""
    return _JSON.dump_json(dict(value))


def encode_tables(tables: Sequence[tuple[pa.Table, Mapping[str, Any]]]) -> list[bytes]:
    """Encode tables with the same columns as JSON, each with its metadata."""
    if not tables:
        return []
    joined = pa.concat_tables([table.replace_schema_metadata() for table, _ in tables])
    columns, rows = describe_columns(joined.schema), iter(json_rows(joined))
    return [
        encode_json({"columns": columns, "rows": list(islice(rows, len(table))), "meta": meta})
        for table, meta in tables
    ]


@lru_cache(maxsize=256)
def describe_columns(schema: pa.Schema) -> list[dict[str, str]]:
    """Return the name, type, unit, UCD and description of every column."""
    found = []
    for field in add_descriptions(schema.empty_table()).schema:
        notes = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        known = {key: notes.get(key, "") for key in ("unit", "ucd", "description")}
        found.append({"name": field.name, "datatype": str(field.type), **known})
    return found


def _to_csv(table: pa.Table) -> bytes:
    texts = [text_values(column) for column in table.columns]
    out = io.BytesIO()
    pa.csv.write_csv(pa.table(texts, table.column_names), out)
    return out.getvalue()


def _to_parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(add_descriptions(table), out, compression="zstd")
    return out.getvalue()


def encode_arrow(table: pa.Table) -> bytes:
    """Encode a table as an Arrow IPC stream."""
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


_WRITERS: Mapping[Format, Callable[[pa.Table], bytes]] = {
    Format.JSON: lambda table: encode_tables([(table, read_metadata(table.schema))])[0],
    Format.VOTABLE: encode_votable,
    Format.CSV: _to_csv,
    Format.PARQUET: _to_parquet,
    Format.ARROW: lambda table: encode_arrow(add_descriptions(table)),
    Format.DS9: lambda table: to_ds9_regions(table).encode(),
}


def accepted_format(header: str) -> Format:
    """Return the format that an ``Accept`` header prefers; JSON if it accepts none of ours."""
    kinds = {media: kind for kind, media in MEDIA.items()}
    kinds |= {"application/vnd.apache.arrow": Format.ARROW, "text/xml": Format.VOTABLE}
    accepted = []
    for item in header[:_ACCEPT_CHARACTERS].split(","):
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
