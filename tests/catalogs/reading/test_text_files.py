"""Separated text of every layout, compared with the rows that were written."""

import csv
import gzip
import io

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogs.reading import read_catalog
from galaxy_da.errors import CatalogError
from galaxy_da.io.tables import read_metadata

ROWS = [("g1", 10.5, 20.5), ("g2", 11.5, -21.5), ("g3", 12.5, 22.5)]


def _read(tmp_path, text, name="c.csv", **options):
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    return read_catalog(tmp_path / name, **options)


def _notes(table):
    return read_metadata(table.schema)["catalog"]["notes"]


def _rows(table):
    return [tuple(row[name] for name in ("object_id", "ra", "dec")) for row in table.to_pylist()]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|", " ", "   "])
@pytest.mark.parametrize("above", ["", "#Table1\n", "# made by hand\n\n", "\ufeff"])
@pytest.mark.parametrize("mark", ["", "#", "# ", "##  "])
@pytest.mark.parametrize("name", ["c.csv", "c.csv.gz"])
def test_a_header_is_read_commented_or_not_and_no_row_is_lost(
    tmp_path, separator, above, mark, name
):
    lines = [separator.join(map(str, row)) for row in (("name", "ra", "dec"), *ROWS)]
    lines[0] = mark + lines[0]
    assert _rows(_read(tmp_path, above + "\n".join(lines) + "\n", name)) == ROWS


def test_the_ascii_of_topcat_is_read(tmp_path):
    text = '# name      ra    dec   type\n  "NGC 1"   10.5  20.5  ""  \n  x  11.5  -21.5  spiral\n'
    table = _read(tmp_path, text)
    assert _rows(table) == [("NGC 1", 10.5, 20.5), ("x", 11.5, -21.5)]
    expected = Table.read(text, format="ascii.commented_header")
    assert table["ra"].to_pylist() == expected["ra"].tolist()


def test_units_below_a_commented_header_are_no_header(tmp_path):
    table = _read(tmp_path, "# name,ra,dec\n# text,deg,deg\ng1,10.5,20.5\n")
    assert _rows(table) == ROWS[:1]


@pytest.mark.parametrize("text", ["10.5,20.5\n11.5,21.5\n", "g1,10:00:24.5,+02:12:00\n"])
def test_a_file_without_a_header_loses_no_row_silently(tmp_path, text):
    with pytest.raises(CatalogError, match=r"its first line without # holds values .* put a line"):
        _read(tmp_path, text)


def test_names_that_are_numbers_are_names(tmp_path):
    table = _read(tmp_path, "name,ra,dec,1.0,2.0\ng1,10.5,20.5,3,4\n")
    assert _rows(table) == ROWS[:1]
    assert table["2.0"].to_pylist() == [4]


def test_repeated_names_are_refused(tmp_path):
    with pytest.raises(CatalogError, match="several columns are called 'mag'; rename them"):
        _read(tmp_path, "id,ra,dec,mag,mag\n1,2,3,4,5\n")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    values=st.lists(
        st.none() | st.integers(-(2**70), 2**70) | st.sampled_from([2**63, 2**64 - 1, 2**53 + 1]),
        min_size=1,
        max_size=6,
    )
)
def test_integers_keep_every_digit_in_every_column(tmp_path, values):
    text = io.StringIO()
    rows = ((k, 10, 20, "" if value is None else value) for k, value in enumerate(values))
    csv.writer(text).writerows([("id", "ra", "dec", "specobjid"), *rows])
    found = _read(tmp_path, text.getvalue())["specobjid"].to_pylist()
    assert [None if value in (None, "") else int(value) for value in found] == values


def test_large_integers_are_numbers_and_decimals_stay_decimals(tmp_path):
    big = [14557384363438286848 + 13 * k for k in range(3)]
    lines = [f"{k},1,2,{value},{value}.5,NaN" for k, value in enumerate(big)]
    table = _read(tmp_path, "id,ra,dec,specobjid,flux,none\n" + "\n".join(lines))
    assert str(table["specobjid"].type) == "uint64"
    assert table["specobjid"].to_pylist() == big
    assert table["flux"].to_pylist() == [value + 0.5 for value in map(float, big)]
    table = _read(tmp_path, f"id,ra,dec,specobjid\n1,2,3,{big[1]}\n2,3,4,-9999\n")
    assert table["specobjid"].to_pylist() == [str(big[1]), "-9999"]
    assert _notes(table) == ["specobjid has integers beyond 64 bits and is read as text"]


@pytest.mark.parametrize("text", [b"name,ra,dec,n\ng1,10.5,20.5,Se\xf1al\n", b"name,ra,dec,\xe9\n"])
def test_latin_1_is_read_and_said(tmp_path, text):
    table = _read(tmp_path, text)
    assert table.column_names[-1] in ("n", "é")
    assert _rows(table) == ROWS[: len(table)]
    assert _notes(table) == ["the file is not UTF-8 text and is read as Latin-1"]
    if len(table):
        assert table["n"].to_pylist() == ["Señal"]


def test_latin_1_in_other_formats(tmp_path):
    table = Table({"name": ["g1"], "ra": [10.5], "dec": [20.5], "n": np.array([b"Se\xf1al"])})
    table.write(tmp_path / "c.fits")
    read = read_catalog(tmp_path / "c.fits")
    assert read["n"].to_pylist() == ["Señal"]
    assert _notes(read) == ["n is not UTF-8 text and is read as Latin-1"]
    table["n"] = ["Sequal"]
    for name, form in (("c.vot", "votable"), ("c.ecsv", "ascii.ecsv")):
        table.write(tmp_path / name, format=form)
        content = (tmp_path / name).read_bytes().replace(b"Sequal", b"Se\xf1al")
        (tmp_path / name).write_bytes(content)
        read = read_catalog(tmp_path / name)
        assert read["n"].to_pylist() == ["Señal"]
        assert _notes(read) == ["the file is not UTF-8 text and is read as Latin-1"]
