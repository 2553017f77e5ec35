"""One mapping of Arrow types to the types of catalogue formats.

Parquet and HATS hold Arrow types as they are. The other formats hold:

===================  =======================  ========================  ==========================
Arrow                FITS                     VOTable                   CSV and JSON
===================  =======================  ========================  ==========================
bool                 L                        boolean                   true, false
int8, int16          I                        short                     digits; text in JSON
uint8                B                        unsignedByte              beyond ±2⁵³
uint16, int32        J                        int
uint32, int64        K                        long
uint64               K, from 2⁶³ TZERO        long, from 2⁶³ char
float16, float32     E                        float                     JSON: null if not finite
float64              D                        double
text                 A, UTF-8                 char or unicodeChar       text
fixed list of those  nE and so on             arraysize n               JSON
everything else      text, as in CSV                                    ISO 8601, hex, digits, JSON
===================  =======================  ========================  ==========================

Missing values are ``TNULLn``, NaN or empty text in FITS; missing logicals, and missing integers
from 2⁶³, are marked in a column ``NAME.mask`` that astropy reads. VOTable marks them, CSV leaves
them empty, and JSON has null.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

EXACT = 2**53
"""Largest integer up to which a double, and so JavaScript, holds every integer."""

_WIDER = {"int8": "int16", "uint16": "int32", "uint32": "int64", "halffloat": "float32"}


def json_value(value: Any) -> Any:
    """Convert a Python value of an Arrow column to one that JSON holds without loss.

    Numbers that are not finite become None; integers beyond ±2⁵³, text of their digits.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return value if abs(value) <= EXACT else str(value)
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def json_values(column: pa.ChunkedArray) -> list[Any]:
    """Convert a column to JSON values, each by `json_value`."""
    kind = column.type
    if kind in (pa.float32(), pa.float64()):
        numbers = column.to_numpy().tolist()  # NaN where missing
        return [number if math.isfinite(number) else None for number in numbers]
    values: list[Any] = column.to_pylist()
    small = pa.types.is_integer(kind) and kind.bit_width <= 32
    return values if small or is_text(kind) else [json_value(value) for value in values]


def json_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Convert a table to rows of JSON values."""
    names, columns = table.column_names, map(json_values, table.columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def text_values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Convert a column to text that keeps every digit; null stays null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return text_values(column.cast(kind.value_type))
    if pa.types.is_float16(kind):
        column = column.cast(pa.float32())
    if is_text(kind) or pa.types.is_decimal(kind) or _is_plain(kind):
        return column.cast(pa.string())
    texts = [
        value if value is None or isinstance(value, str) else json.dumps(value)
        for value in json_values(column)
    ]
    return pa.chunked_array([pa.array(texts, pa.string())])


def numpy_values(column: pa.ChunkedArray) -> np.ndarray:
    """Convert a column (n,) to an array of a type that FITS and VOTable hold, (n,) or (n, size).

    Returns
    -------
    array
        Masked where values are missing, if any are; the fill value is one that the column does not
        hold. Missing items of fixed-size lists of floats are NaN. Text is of kind ``U``.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return numpy_values(column.cast(kind.value_type))
    if pa.types.is_fixed_size_list(kind) and kind.list_size:
        rows = _list_values(column)
        return _text(column) if rows is None else rows
    if pa.types.is_boolean(kind):
        return _masked(np.asarray(column.fill_null(False)), column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _masked(_numbers(column), column)
    return _text(column)


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is text."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_plain(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    )


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return numbers in the type of the formats, 0 where they are missing."""
    kind = column.type
    if pa.types.is_uint64(kind):
        largest = pc.max(column).as_py()
        if largest is None or largest < 2**63:
            column = column.cast(pa.int64())
    elif str(kind) in _WIDER:
        column = column.cast(_WIDER[str(kind)])
    return np.asarray(column.fill_null(0))


def _masked(values: np.ndarray, column: pa.ChunkedArray) -> np.ndarray:
    """Mask what is missing, with a fill value that is not among the values."""
    if not column.null_count:
        return values
    missing = np.asarray(column.is_null())
    fill: float = False if values.dtype == bool else np.nan
    if values.dtype.kind in "ui":
        values, fill = _unused(values)
    return np.ma.MaskedArray(values, missing, fill_value=fill)


def _unused(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return integers, wider if they take all values of their type, and a value not among them."""
    low, high = np.iinfo(values.dtype).min, np.iinfo(values.dtype).max
    if not (values == low).any():
        return values, low
    nearby = np.arange(low, min(low + len(values), high) + 1).astype(values.dtype)
    free = np.setdiff1d(nearby, values)
    if not len(free):
        return _unused(values.astype(np.int16 if high < 2**8 else np.int32))
    return values, int(free[0])


def _list_values(column: pa.ChunkedArray) -> np.ndarray | None:
    """Return the rows of fixed-size lists of numbers; None if an array cannot hold them."""
    size, kind = column.type.list_size, column.type.value_type
    items = pa.chunked_array([chunk.flatten() for chunk in column.chunks], kind)
    if pa.types.is_floating(kind):
        flat = np.asarray(_numbers(items))
        flat = np.where(np.asarray(items.is_null()), np.nan, flat).astype(flat.dtype)
        rows = np.full((len(column), size), np.nan, flat.dtype)
        rows[np.asarray(column.is_valid())] = flat.reshape(-1, size)
        return rows
    if not pa.types.is_integer(kind) or items.null_count or column.null_count:
        return None
    flat = _numbers(items)
    return None if flat.dtype == np.uint64 else flat.reshape(-1, size)


def _text(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as text, masked where it is missing."""
    texts = text_values(column)
    values = np.array(texts.fill_null("").to_pylist(), dtype=str)
    if not texts.null_count:
        return values
    return np.ma.MaskedArray(values, np.asarray(texts.is_null()), fill_value="")
