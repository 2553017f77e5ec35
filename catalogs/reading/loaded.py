"""Tables as readers return them, and what they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from galaxy_da.errors import CatalogError

__all__ = [
    "Loaded",
    "TableInFile",
    "Wanted",
    "choose_table",
    "field_note",
    "is_number",
    "is_text",
    "refuse_repeated",
]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Table and columns that a caller needs.

    Attributes
    ----------
    id_columns : callable
        Function that returns, from all column names, those of ids, which CSV files hold as text.
    has_positions : callable
        Function that tells, from all column names, whether a table has positions.
    table : str, optional
        Name or number of the table, where a file holds several.
    """

    id_columns: Callable[[Sequence[str]], Sequence[str]]
    has_positions: Callable[[Sequence[str]], bool]
    table: str | None = None


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Contents of a file.

    Attributes
    ----------
    table : pa.Table
        Columns; the field metadata hold ``unit``, ``frame`` and ``epoch`` if the file states them.
    header : dict
        Cards of the header; of a HATS catalogue its properties.
    notes : list of str
        Lines for the user.
    """

    table: pa.Table
    header: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class TableInFile(NamedTuple):
    """One of the tables of a file: its name, number from 1, and columns."""

    name: str
    number: int
    columns: Sequence[str]

    def __str__(self) -> str:
        return f"{self.number} {self.name}".rstrip() + f" (columns: {len(self.columns)})"


def choose_table(tables: Sequence[TableInFile], wanted: Wanted, where: str) -> TableInFile:
    """Return the wanted table of a file, or the only one that has positions.

    Raises
    ------
    ValueError
        If the file holds no table.
    CatalogError
        If it holds no such table, or several that could be meant.
    """
    found = list(tables)
    if not found:
        raise ValueError("it holds no table")
    if wanted.table is not None:
        asked = wanted.table.strip().lower()
        found = [one for one in tables if asked in (one.name.lower(), str(one.number))]
        problem = f"{len(found) or 'no'} tables are called {wanted.table!r}"
    elif len(tables) > 1:
        found = [one for one in tables if wanted.has_positions(one.columns)]
        problem = f"{len(found) or 'none'} of its {len(tables)} tables have positions"
    if len(found) != 1:
        listed = ", ".join(map(str, tables))
        raise CatalogError(
            f"{where}: {problem}; it holds {listed}; say which by table=NAME (--table NAME), or "
            "by its number"
        )
    return found[0]


def refuse_repeated(names: Sequence[str], where: str) -> None:
    """Raise `CatalogError` if two columns have one name."""
    repeated = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    if repeated:
        raise CatalogError(
            f"{where}: several columns are called {', '.join(map(repr, repeated))}; rename them"
        )


def field_note(field: pa.Field, key: str) -> str | None:
    """Return the ``unit``, ``frame`` or ``epoch`` a file gives a column, if any."""
    note = (field.metadata or {}).get(key.encode())
    return note.decode() if note else None


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view
    return any(test(kind) for test in tests)


def is_number(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds numbers, or only nulls."""
    tests = pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null
    return any(test(kind) for test in tests)
