"""Positions of a table as DS9 regions, which DS9, Aladin and CARTA read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from galaxy_da.errors import TableError
from galaxy_da.io.positions import are_positions

RADIUS_ARCSEC = 5.0

_COLOURS = ("green", "cyan", "yellow", "magenta", "red", "blue", "white")


def to_ds9_regions(table: pa.Table) -> str:
    """Return the rows as circles of 5 arcsec in ICRS, named ``survey:object_id``.

    Each survey has its own colour. Rows without a usable position are left out. Raises TableError
    if the table lacks ``ra`` or ``dec``.
    """
    missing = [name for name in ("ra", "dec") if name not in table.column_names]
    if missing:
        raise TableError(
            f"regions need a position: column {' and '.join(missing)} is missing; the table has "
            f"{', '.join(table.column_names)}"
        )
    ra, dec = (table[name].to_numpy().astype(float) for name in ("ra", "dec"))
    names, surveys = _names(table)
    colours = {survey: _COLOURS[i % len(_COLOURS)] for i, survey in enumerate(sorted({*surveys}))}
    lines = ["# Region file format: DS9 version 4.1", "icrs"]
    for i in np.flatnonzero(are_positions(ra, dec)):
        notes = f"color={colours[surveys[i]]} text={_quoted(names[i])}"
        lines.append(f'circle({ra[i]:.8f},{dec[i]:.8f},{RADIUS_ARCSEC:g}") # {notes}')
    return "\n".join(lines) + "\n"


def _names(table: pa.Table) -> tuple[list[str], list[str]]:
    """Return the label and the survey of each row, empty where a table has neither."""
    columns = [
        table[name].cast(pa.string()).fill_null("").to_pylist()
        if name in table.column_names
        else [""] * len(table)
        for name in ("survey", "object_id")
    ]
    surveys, ids = columns
    labels = [f"{s}:{i}" if s else i for s, i in zip(surveys, ids, strict=True)]
    return labels, surveys


def _quoted(text: str) -> str:
    """Quote text with the delimiter that it does not contain; DS9 has no escapes."""
    text = " ".join(text.split())
    for start, end in ("{}", '""', "''"):
        if start not in text and end not in text:
            return f"{start}{text}{end}"
    return "{" + text.translate(str.maketrans("{}", "()")) + "}"
