"""Tables as readers return them, and what they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from galaxy_da.errors import CatalogError


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Table and columns that a caller needs."""

    id_columns: Callable[[Sequence[str]], Sequence[str]]  # of all columns those held as text
    has_positions: Callable[[Sequence[str]], bool]  # of a table, from the names of its columns
    table: str | None = None  # name or number, where a file holds several


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Contents of a file."""

    table: pa.Table  # field metadata hold ``unit``, ``frame`` and ``epoch``, if the file has them
    form: str = ""  # format
    header: dict[str, Any] = field(default_factory=dict)  # of a HATS catalogue its properties
    notes: list[str] = field(default_factory=list)  # lines for the user


class TableInFile(NamedTuple):
    """One of the tables of a file: its name, number from 1, and columns."""

    name: str
    number: int
    columns: Sequence[str]

    def __str__(self) -> str:
        return f"{self.number} {self.name}".rstrip() + f" (columns: {len(self.columns)})"


def choose_table(tables: Sequence[TableInFile], wanted: Wanted, where: str) -> TableInFile:
    """Return the wanted table of a file, or the only one that has positions."""
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
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def is_number(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds numbers, or only nulls."""
    tests = pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null
    return any(test(kind) for test in tests)
