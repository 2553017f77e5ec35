"""Every Arrow type through every format, read back by other libraries."""

import csv
import datetime
import io
import json
import warnings
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from galaxy_da.commands.printing import print_table
from galaxy_da.errors import TableError
from galaxy_da.io.catalogue_output import write_catalogue
from galaxy_da.io.column_types import EXACT, json_value, numpy_values, text_values
from galaxy_da.service.tables import Format, table_response

INTEGERS = {
    f"{sign}int{bits}": getattr(pa, f"{sign}int{bits}")()
    for sign in ("", "u")
    for bits in (8, 16, 32, 64)
}
FILLS = [0, 1, 63, 16959, 999999]  # numpy's default fill value in integers of each size
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]).filter(lambda c: c != "\ufeff"), max_size=6
).map(str.strip)


def _range(kind):
    info = np.iinfo(kind.to_pandas_dtype())
    return int(info.min), int(info.max)


def _values(kind):
    """Return a strategy of values of a type."""
    if pa.types.is_integer(kind):
        low, high = _range(kind)
        known = [value for value in (*FILLS, low, low + 1, high) if low <= value <= high]
        return st.integers(low, high) | st.sampled_from(known)
    if pa.types.is_floating(kind):
        return st.floats(width=kind.bit_width, allow_nan=False)
    return st.booleans() if pa.types.is_boolean(kind) else TEXT


KINDS = {
    **INTEGERS,
    "bool": pa.bool_(),
    "float16": pa.float16(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "text": pa.string(),
}


@st.composite
def tables(draw, least=1):
    n = draw(st.integers(least, 6))
    columns = {
        name: pa.array(draw(st.lists(st.none() | _values(kind), min_size=n, max_size=n)), type=kind)
        for name, kind in KINDS.items()
    }
    places = {"object_id": [f"g{k}" for k in range(n)], "ra": np.arange(n) * 1.0}
    return pa.table({**places, "dec": np.zeros(n), **columns})


def _check(name, found, right, missing):
    """Compare values with those written; `missing` is what the format has for null."""
    right = [missing if value is None else value for value in right]
    assert found == right, name
    assert [type(value) is bool for value in found] == [type(v) is bool for v in right], name


def _astropy_values(column):
    return [
        None if np.ma.is_masked(value) else value.item() if hasattr(value, "item") else value
        for value in column
    ]


many = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@many
@given(table=tables())
def test_fits_read_by_astropy(tmp_path, table):
    write_catalogue(table, tmp_path / "t.fits")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*contains NULL")  # then masked by NAME.mask
        read = Table.read(tmp_path / "t.fits", mask_invalid=False)
    assert read.colnames == table.column_names
    for name, kind in KINDS.items():
        found = _astropy_values(read[name])
        if pa.types.is_floating(kind):
            found = [None if np.isnan(value) else value for value in found]
        _check(name, found, table[name].to_pylist(), "" if name == "text" else None)
    (tmp_path / "t.fits").unlink()


@many
@given(table=tables())
def test_votable_read_by_astropy(tmp_path, table):
    write_catalogue(table, tmp_path / "t.vot")
    read = parse_single_table(tmp_path / "t.vot", verify="exception").to_table()
    for name in KINDS:
        found, right = _astropy_values(read[name]), table[name].to_pylist()
        if name == "uint64" and read[name].dtype.kind == "O":
            found = [None if value == "" else int(value) for value in found]
        _check(name, found, right, "" if name == "text" else None)
    (tmp_path / "t.vot").unlink()


@many
@given(table=tables())
def test_parquet_read_by_pyarrow(tmp_path, table):
    write_catalogue(table, tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet").equals(table)


@settings(many, max_examples=2)
@given(table=tables())
def test_hats_read_by_pyarrow(tmp_path_factory, table):
    pytest.importorskip("lsdb")
    folder = tmp_path_factory.mktemp("hats") / "t"
    write_catalogue(table, folder)
    read = pa.concat_tables(pq.read_table(file) for file in folder.rglob("Npix=*.parquet"))
    assert read.select(table.column_names).sort_by("object_id").equals(table)


def _answer(table, kind):
    request = Request({"type": "http", "headers": []})
    return table_response(request, table, kind).body.decode()


@many
@given(table=tables())
def test_csv_read_by_the_standard_library(table):
    rows = list(csv.DictReader(io.StringIO(_answer(table, Format.CSV), newline="")))
    for name, kind in KINDS.items():
        found = [row[name] for row in rows]
        if name != "text":
            read = {"true": True, "false": False}.get if name == "bool" else int
            read = kind.to_pandas_dtype() if pa.types.is_floating(kind) else read
            found = [None if text == "" else read(text) for text in found]
        _check(name, found, table[name].to_pylist(), "" if name == "text" else None)


@many
@given(table=tables())
def test_json_read_as_javascript_reads_it(table):
    def number(digits):
        assert abs(int(digits)) <= EXACT  # a double holds it
        return int(digits)

    rows = json.loads(_answer(table, Format.JSON), parse_int=number)["rows"]
    for name in KINDS:
        found, right = [row[name] for row in rows], table[name].to_pylist()
        if name in INTEGERS:
            found = [int(value) if isinstance(value, str) else value for value in found]
        right = [None if isinstance(v, float) and not np.isfinite(v) else v for v in right]
        _check(name, found, right, None)


@pytest.mark.parametrize("name", ["uint8", "int8", "int16", "uint16"])
def test_a_column_that_takes_every_value_of_its_type_keeps_its_nulls(tmp_path, name):
    low, high = _range(INTEGERS[name])
    values = [*range(low, high + 1), None]
    n = len(values)
    table = pa.table({"ra": np.zeros(n), "x": pa.array(values, INTEGERS[name])})
    write_catalogue(table, tmp_path / "t.fits")
    assert _astropy_values(Table.read(tmp_path / "t.fits")["x"]) == values


def test_missing_logicals_are_the_zero_bytes_of_the_standard(tmp_path):
    write_catalogue(pa.table({"a": [True, None, False]}), tmp_path / "t.fits")
    with fits.open(tmp_path / "t.fits", logical_as_bytes=True) as hdus:
        assert hdus[1].data["a"].tolist() == [b"T", b"", b"F"]


def test_vectors_keep_their_type(tmp_path):
    lists = {
        "double": pa.array([[1 / 3, 2.0], None], pa.list_(pa.float64(), 2)),
        "long": pa.array([[2**60 + 1, 2], [3, 4]], pa.list_(pa.int64(), 2)),
        "holes": pa.array([[1, None], None], pa.list_(pa.int32(), 2)),
    }
    write_catalogue(pa.table(lists), tmp_path / "t.fits")
    write_catalogue(pa.table(lists), tmp_path / "t.vot")
    for read in (Table.read(tmp_path / "t.fits"), Table.read(tmp_path / "t.vot")):
        assert read["double"][0].tolist() == [1 / 3, 2.0]
        assert np.isnan(np.ma.filled(read["double"][1], np.nan)).all()
        assert read["long"].tolist() == [[2**60 + 1, 2], [3, 4]]
        assert read["holes"][0] == "[1, null]"


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([datetime.date(2016, 1, 2), None]), "2016-01-02"),
        (pa.array([1_000_000_001, None], pa.timestamp("ns")), "1970-01-01T00:00:01.000000001"),
        (pa.array([Decimal("1.50"), None]), "1.50"),
        (pa.array([b"\xff\x00", None]), "ff00"),
        (pa.array([[1, 2**60], None], pa.list_(pa.int64())), f'[1, "{2**60}"]'),
        (pa.array([{"a": np.inf}, None]), '{"a": null}'),
        (pa.array(["x", None]).dictionary_encode(), "x"),
        (pa.array(["x", None], pa.string_view()), "x"),
        (pa.array([None, None]), None),
    ],
)
def test_other_types_become_text(column, text):
    chunked = pa.chunked_array([column])
    assert text_values(chunked).to_pylist() == [text, None]
    values = numpy_values(chunked)
    assert values.mask.tolist() == [text is None, True]
    assert values.filled("").tolist() == [text or "", ""]


def test_integers_beyond_a_double_are_text_wherever_they_stand():
    big = EXACT + 1
    value = {"a": [big, -big, EXACT], "b": np.nan}
    assert json_value(value) == {"a": [str(big), str(-big), EXACT], "b": None}


def test_printed_tables_keep_every_digit(capsys):
    table = pa.table({"id": pa.array([2**63 + 1, None], pa.uint64())})
    print_table(table, as_json=False)
    assert str(2**63 + 1) in capsys.readouterr().out
    print_table(table, as_json=True)
    assert json.loads(capsys.readouterr().out)["rows"] == [{"id": str(2**63 + 1)}, {"id": None}]


def test_printed_positions_lie_within_a_tenth_of_an_arcsec(capsys):
    sky = {"ra": [359.987654321, 0.000123456], "dec": [-89.123456789, 1e-6]}
    print_table(pa.table(sky | {"distance": [1.23456789, 2.0]}), as_json=False)
    head, *lines = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["ra", "dec", "distance"] and lines[0][2] == "1.2346"
    for i, name in enumerate(sky):
        found = [float(line[i]) for line in lines]
        assert np.abs(np.subtract(found, sky[name])).max() * 3600 < 0.1
    print_table(pa.table({"ra": pa.array([], pa.float64())}), as_json=False)
    assert capsys.readouterr().err == "none found\n"


def test_descriptions_are_never_cut(tmp_path):
    words = "Half-light radius along the major axis, " * 5 + "of the σ² model"
    notes = {"description": words, "unit": "1e-9 maggy", "ucd": "phys.angSize"}
    field = pa.field("size", pa.float32(), metadata=notes)
    table = pa.table([pa.array([1.5], pa.float32())], schema=pa.schema([field]))
    write_catalogue(table, tmp_path / "t.fits")
    header = fits.getheader(tmp_path / "t.fits", 1)
    assert header["TCOMM1"] == words.replace("σ²", "??")
    assert (header["TUNIT1"], header["TUCD1"]) == ("1e-9 maggy", "phys.angSize")
    write_catalogue(table, tmp_path / "t.vot")
    field = parse_single_table(tmp_path / "t.vot").fields[0]
    assert "".join(field.description.split()) == words.replace(" ", "")  # astropy wraps it
    assert str(field.unit) == "1e-09 maggy"


def test_names_that_fits_cannot_hold_are_refused(tmp_path):
    table = pa.table({"größe": [1.0], "mag (AB)": [17.5]})
    with pytest.raises(TableError, match=r"t.fits: FITS holds ASCII names .* not 'größe'; rename"):
        write_catalogue(table, tmp_path / "t.fits")
    assert not list(tmp_path.iterdir())
    write_catalogue(table.drop_columns("größe"), tmp_path / "t.fits")
    assert Table.read(tmp_path / "t.fits")["mag (AB)"][0] == 17.5
