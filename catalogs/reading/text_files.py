"""Read CSV and other separated text: any header, any encoding, every digit of long integers."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from catalogs.reading.loaded import Loaded, Wanted, refuse_repeated
from galaxy_da.errors import CatalogError
from galaxy_da.io.column_types import EXACT
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import Location

_HEAD = 1 << 18  # bytes to find the header in
_CHUNK = 1 << 24
_SEPARATORS = ",\t;|"
_SPACES = " "
_VALUE = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\d+[:hd ]\d+[:m ]\d.*")
_INTEGER = "^[-+]?[0-9]+$"

_Read = Callable[[pa.csv.ConvertOptions], pa.Table]


class _Layout(NamedTuple):
    """Lines above the table, separator, names if the header is a comment, and units below it."""

    skip: int
    separator: str
    names: list[str] | None
    units: list[str] | None = None  # above a line of dashes, as VizieR writes


def read_csv(path: Location, wanted: Wanted) -> Loaded:
    """Read a separated text file; CatalogError if it has no header, or its ids are decimals.

    The header is the first line without ``#``, or a comment above values, as SExtractor writes it,
    too. Columns are separated by commas, else tabs, semicolons, bars or spaces; units may stand
    above a line of dashes, as in files of VizieR. Bytes that are not UTF-8 or UTF-16 are read as
    Latin-1. Ids are text; other integers keep every digit.
    """
    file, where = local_copy(path), str(path)
    encoding = _encoding(file)
    with pa.input_stream(file) as stream:
        head = stream.read(_HEAD).decode(encoding, "replace").removeprefix("\ufeff").splitlines()
    layout = _layout(head, where)
    source, options, parse = _source(file, layout, encoding)
    with pa.csv.open_csv(source(), read_options=options, parse_options=parse) as reader:
        inferred = reader.schema
    refuse_repeated([name.strip() for name in inferred.names], where)

    def read(convert: pa.csv.ConvertOptions) -> pa.Table:
        return pa.csv.read_csv(
            source(), read_options=options, parse_options=parse, convert_options=convert
        )

    ids = wanted.id_columns(inferred.names)
    as_text = dict.fromkeys(ids, pa.string())
    table = read(pa.csv.ConvertOptions(column_types=as_text))
    times = [field.name for field in table.schema if pa.types.is_time(field.type)]
    if times:  # 10:00:00 can be an angle
        as_text |= dict.fromkeys(times, pa.string())
        table = read(pa.csv.ConvertOptions(column_types=as_text, strings_can_be_null=True))
    for name in ids:
        decimal = pc.any(pc.match_substring_regex(table[name], "[.eE]")).as_py()
        if decimal and pa.types.is_floating(inferred.field(name).type):
            raise CatalogError(
                f"{where}: ids in {name} are stored as decimals, which loses digits of long ids; "
                "write them as integers or text, or use another column by object_id=NAME"
            )
    table, notes = _restore_integers(table, read)
    table = table.rename_columns([name.strip() for name in table.column_names])
    for place, unit in enumerate(layout.units or ()):
        if unit and place < table.num_columns:
            field = table.schema.field(place).with_metadata({"unit": unit})
            table = table.set_column(place, field, table[place])
    if encoding == "latin-1":
        notes.append("the file is not UTF-8 text and is read as Latin-1")
    return Loaded(table=table, notes=notes)


def _encoding(file: Any) -> str:
    """Return the encoding of a text file: UTF-16 by its mark, UTF-8, or Latin-1 for other bytes."""
    with pa.input_stream(file) as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with pa.input_stream(file) as stream:
            while chunk := stream.read(_CHUNK):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _layout(head: Sequence[str], where: str) -> _Layout:
    """Return where the table of a file starts and how its columns are separated and called."""
    lines = (k for k, line in enumerate(head) if line.strip() and not line.startswith("#"))
    skip = next(lines, len(head))
    if skip == len(head):
        return _Layout(skip, ",", None)
    first = head[skip]
    separator = next((one for one in _SEPARATORS if one in first), _SPACES)
    fields = _fields(first, separator)
    n_values = sum(_VALUE.fullmatch(field) is not None for field in fields)
    if n_values:
        comments = [_fields(line.lstrip("#"), separator) for line in head[:skip]]
        numbered = [re.match(r"#\s*(\d+)\s+(\S+)", line) for line in head[:skip]]
        listed = [(int(found[1]), found[2]) for found in numbered if found]
        if [number for number, _ in listed] == list(range(1, len(fields) + 1)):  # of SExtractor
            return _Layout(skip, separator, [name for _, name in listed])
        fitting = [one for one in comments if len(one) == len(set(one)) == len(fields) and all(one)]
        names = [one for one in fitting if not any(map(_VALUE.fullmatch, one))]
        if names:
            return _Layout(skip, separator, names[-1])
    if n_values > 1 and 2 * n_values >= len(fields):
        raise CatalogError(
            f"{where}: its first line without # holds values ({first.strip()[:60]}), not names of "
            f"columns; put a line of {len(fields)} names above it"
        )
    below = [_fields(line, separator) for line in head[skip + 1 : skip + 3]]
    is_dashes = [all(re.fullmatch("-+", field) for field in row) for row in below if row]
    units = below[0] if is_dashes == [False, True] else None
    return _Layout(skip, separator, None, units or ([] if is_dashes[:1] == [True] else None))


def _fields(line: str, separator: str) -> list[str]:
    (row,) = csv.reader([line.strip()], delimiter=separator, skipinitialspace=True)
    return [field.strip() for field in row]


def _source(
    file: Any, layout: _Layout, encoding: str
) -> tuple[Callable[[], Any], pa.csv.ReadOptions, pa.csv.ParseOptions]:
    """Return a function that opens the file for pyarrow, and the options to read it by."""
    below = 0 if layout.units is None else 1 + bool(layout.units)
    if layout.separator != _SPACES:
        options = pa.csv.ReadOptions(
            skip_rows=layout.skip, skip_rows_after_names=below, column_names=layout.names,
            encoding=encoding,
        )  # fmt: skip
        return lambda: file, options, pa.csv.ParseOptions(delimiter=layout.separator)
    with pa.input_stream(file) as stream:
        lines = stream.read().decode(encoding).splitlines()[layout.skip :]
    del lines[1 : 1 + below]
    rows = csv.reader(map(str.rstrip, lines), delimiter=_SPACES, skipinitialspace=True)
    text = io.StringIO()
    csv.writer(text).writerows(filter(None, rows))
    options = pa.csv.ReadOptions(column_names=layout.names)
    return partial(io.BytesIO, text.getvalue().encode()), options, pa.csv.ParseOptions()


def _restore_integers(table: pa.Table, read: _Read) -> tuple[pa.Table, list[str]]:
    """Return the table with integers beyond 2⁶³ in full, which were read as doubles."""
    suspects = [
        field.name
        for field in table.schema
        if pa.types.is_floating(field.type) and (np.abs(table[field.name].to_numpy()) > EXACT).any()
    ]
    notes: list[str] = []
    if not suspects:
        return table, notes
    types = dict.fromkeys(suspects, pa.string())
    known = {"include_columns": suspects, "column_types": types}
    texts = read(pa.csv.ConvertOptions(**known, strings_can_be_null=True))
    for name in suspects:
        digits = pc.utf8_trim_whitespace(texts[name])
        if not pc.all(pc.match_substring_regex(digits, _INTEGER)).as_py():
            continue
        try:
            digits = pc.utf8_ltrim(digits, "+").cast(pa.uint64())
        except pa.ArrowInvalid:
            notes.append(f"{name} has integers beyond 64 bits and is read as text")
        table = table.set_column(table.column_names.index(name), name, digits)
    return table, notes
