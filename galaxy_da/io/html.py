"""HTML with which objects show themselves in notebooks: tables with units, cards with pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import pyarrow as pa

from galaxy_da.io.column_types import json_rows

_SIGNIFICANT = 5
_SIGNATURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
_CARD = (
    "display:inline-block;width:108px;margin:2px 6px 6px 0;vertical-align:top;font-size:11px;"
    "overflow-wrap:anywhere"
)
_IMAGE = "width:108px;height:108px;object-fit:cover;background:#232323;border-radius:4px"


def text(value: object) -> str:
    """Return a value as escaped text; numbers have five significant digits."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.{_SIGNIFICANT}g}"
    return escape(str(value))


def facts(title: str, values: Mapping[str, object]) -> str:
    """Return a title with named values below it."""
    lines = "".join(
        f"<tr><th style='text-align:left'>{text(name)}</th><td style='text-align:left'>"
        f"{text(value)}</td></tr>"
        for name, value in values.items()
    )
    return f"<div><b>{text(title)}</b><table>{lines}</table></div>"


def rows_table(table: pa.Table, rows: int = 8) -> str:
    """Return the first rows of a table without nested columns; units are below the names."""
    flat = [field for field in table.schema if not pa.types.is_nested(field.type)]
    head = "".join(f"<th>{text(f.name)}<br><small>{text(_note(f, 'unit'))}</small></th>"
                   for f in flat)  # fmt: skip
    shown = json_rows(table.select([field.name for field in flat]).slice(0, rows))
    body = "".join(
        "<tr>" + "".join(f"<td>{text(row[field.name])}</td>" for field in flat) + "</tr>"
        for row in shown
    )
    more = table.num_rows - len(shown)
    tail = f"<small>and {more:,} more rows</small>" if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{tail}"


def column_list(schema: pa.Schema) -> str:
    """Return the columns of a table with type, unit and description."""
    lines = "".join(
        f"<tr><td style='text-align:left'><code>{text(f.name)}</code></td><td>{text(f.type)}</td>"
        f"<td>{text(_note(f, 'unit'))}</td>"
        f"<td style='text-align:left'>{text(_note(f, 'description'))}</td></tr>"
        for f in schema
    )
    return f"<table><tbody>{lines}</tbody></table>"


def details(summary: str, content: str) -> str:
    """Return content that opens on a click."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def cards(pictures: Iterable[bytes | None], captions: Sequence[Sequence[str]]) -> str:
    """Return PNG or JPEG pictures with lines of text below each; None says "no image"."""
    found = []
    for picture, lines in zip(pictures, captions, strict=True):
        uri = None if picture is None else image_uri(picture)
        image = (
            f"<div style='{_IMAGE};color:#fff;text-align:center;line-height:108px'>no image</div>"
            if uri is None
            else f"<img src='{uri}' alt='{text(lines[0])}' style='{_IMAGE}'>"
        )
        found.append(f"<div style='{_CARD}'>{image}<br>{'<br>'.join(map(text, lines))}</div>")
    return f"<div>{''.join(found)}</div>"


def image_uri(data: bytes) -> str | None:
    """Return a PNG or JPEG file as a ``data:`` URI, None for other files."""
    kinds = [kind for start, kind in _SIGNATURES.items() if data.startswith(start)]
    return f"data:image/{kinds[0]};base64,{base64.b64encode(data).decode()}" if kinds else None


def _note(field: pa.Field, name: str) -> str:
    note: bytes = (field.metadata or {}).get(name.encode(), b"")
    return note.decode()
