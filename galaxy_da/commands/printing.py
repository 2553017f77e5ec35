"""Print results: aligned text for people, one JSON object for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_SIGNIFICANT = 5


def print_result(result: Mapping[str, Any], as_json: bool) -> None:
    """Print a result on stdout, as one JSON object or as aligned text.

    As text, numbers and words are lines, a mapping of mappings is a table with a row each, and
    other nested values are left to ``--json``.
    """
    if as_json:
        print(json.dumps(result, indent=1, allow_nan=False))
        return
    lines = {key: value for key, value in result.items() if not isinstance(value, Mapping | list)}
    width = max(map(len, lines), default=0)
    for key, value in lines.items():
        print(f"{key:<{width}}  {_text(value)}")
    for key, value in result.items():
        if (
            isinstance(value, Mapping)
            and value
            and all(isinstance(v, Mapping) for v in value.values())
        ):
            _print_rows(key, value)


def print_table(table: pa.Table, as_json: bool) -> None:
    """Print a table's rows on stdout, as one JSON object or as aligned columns."""
    from galaxy_da.io.column_types import json_rows

    if as_json:
        print(json.dumps({"rows": json_rows(table)}, indent=1, allow_nan=False))
        return
    if not table.num_rows:
        print("none found", file=sys.stderr)
    rows = [[_cell(name, value) for name, value in row.items()] for row in table.to_pylist()]
    _print_aligned([table.column_names, *rows])


def _cell(name: str, value: object) -> str:
    """Return a value of a column as text, a position to a few hundredths of an arcsec."""
    is_position = name in ("ra", "dec") and isinstance(value, float)
    return f"{value:.5f}" if is_position else _text(value)


def _print_rows(title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a mapping of mappings as a table, its keys in the first column."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [[title, *columns]]
    cells += [[key, *(_text(row.get(name, "")) for name in columns)] for key, row in rows.items()]
    width = max(len(line[0]) for line in cells)
    print()
    _print_aligned([[line[0].ljust(width), *line[1:]] for line in cells])


def _print_aligned(cells: Sequence[Sequence[str]]) -> None:
    """Print lines of cells, each as wide as the widest of its column, to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)))


def _text(value: object) -> str:
    """Return a number with five significant digits, anything else as it prints, a null as "-"."""
    if value is None:
        return "-"
    return f"{value:.{_SIGNIFICANT}g}" if isinstance(value, float) else str(value)
