"""Columns of ids and positions are found by their names."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from catalogue_helpers import DEC, RA, astropy_table, noted, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogs.reading import read_catalog
from catalogs.reading.columns import ROW_NUMBER
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.tables import write_table


@pytest.mark.parametrize(
    "names",
    [
        ("object_id", "ra", "dec"),
        ("objID", "RA", "DEC"),
        ("source_id", "RAJ2000", "DEJ2000"),
        ("NUMBER", "ALPHA_J2000", "DELTA_J2000"),
        ("Name", "_RAJ2000", "_DEJ2000"),
        ("iauname", "right_ascension", "declination"),
        ("OBJECT_ID", "RA_ICRS", "DE_ICRS"),
        ("TARGETID", "raMean", "decMean"),
    ],
)
def test_usual_spellings_are_recognised(tmp_path, names):
    (tmp_path / "c.csv").write_text(",".join(names) + ",note\n7,10.5,20.5,hello\n")
    table = read_catalog(tmp_path / "c.csv")
    assert [table[name][0].as_py() for name in ("object_id", "ra", "dec")] == ["7", 10.5, 20.5]
    assert tuple(noted(table)["columns"].values()) == names
    assert table["note"].to_pylist() == ["hello"]


def test_named_columns_win_and_nothing_is_overwritten(tmp_path):
    (tmp_path / "c.csv").write_text(
        "object_id,ra,dec,ra_input,my_ra,my_dec,my_id\n1,2.5,3,4,50.5,60.5,007\n"
    )
    table = read_catalog(tmp_path / "c.csv", ra="my_ra", dec="my_dec", object_id="my_id")
    assert table.to_pylist() == [
        {
            "object_id": "007",
            "ra": 50.5,
            "dec": 60.5,
            "object_id_input": 1,
            "ra_input_": 2.5,
            "dec_input": 3,
            "ra_input": 4,
            "my_ra": 50.5,
            "my_dec": 60.5,
            "my_id": "007",
        }
    ]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("id,RAJ2000,_RAJ2000,dec", "ra could be any of RAJ2000, _RAJ2000; say which by ra=NAME"),
        ("id,objid,ra,dec", "object_id could be any of id, objid; say which by object_id=NAME"),
        ("id,ra,declin", "there is no column for dec; it has id, ra, declin; say which"),
    ],
)
def test_unclear_columns_are_listed(tmp_path, header, message):
    (tmp_path / "c.csv").write_text(f"{header}\n{','.join('1' * len(header.split(',')))}\n")
    with pytest.raises(CatalogError, match=message):
        read_catalog(tmp_path / "c.csv")


@pytest.mark.parametrize("name", ["ra", "dec", "object_id"])
def test_a_named_column_must_exist(tmp_path, name):
    header = ",".join(f"c{k}" for k in range(100))
    (tmp_path / "c.csv").write_text(f"id,ra,dec,{header}\n")
    with pytest.raises(
        CatalogError, match=rf"no column 'nope' for {name}; .*\.\.\. \(103 in all\)"
    ):
        read_catalog(tmp_path / "c.csv", **{name: "nope"})


def test_a_catalogue_can_be_written_and_read_again(tmp_path):
    write(astropy_table(), tmp_path / "c.fits")
    first = read_catalog(tmp_path / "c.fits")
    write_table(first, tmp_path / "c.parquet")
    assert read_catalog(tmp_path / "c.parquet").equals(first)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ids=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5, unique=True))
@pytest.mark.parametrize("ending", ["fits", "ecsv", "csv", "parquet"])
def test_integer_ids_keep_every_digit(tmp_path, ending, ids):
    zeros = np.zeros(len(ids))
    table = Table({"id": np.array(ids, np.uint64), "ra": zeros, "dec": zeros})
    path = tmp_path / f"c.{ending}"
    path.unlink(missing_ok=True)
    write(table, path)
    assert read_catalog(path)["object_id"].to_pylist() == [str(number) for number in ids]


@pytest.mark.parametrize("ending", ["fits", "vot", "ecsv", "csv", "parquet"])
def test_float_ids_are_refused(tmp_path, ending):
    write(Table({"id": [1.5e18, 2.5], "ra": [1.0, 2], "dec": [1.0, 2]}), tmp_path / f"c.{ending}")
    with pytest.raises(CatalogError, match=r"ids in id are stored as .* loses digits"):
        read_catalog(tmp_path / f"c.{ending}")


def test_ids_that_are_whole_decimals_are_read(tmp_path):
    ids = pa.array([Decimal(2**64 - 1), Decimal(7)], pa.decimal128(20, 0))
    pq.write_table(pa.table({"id": ids, "ra": RA[:2], "dec": DEC[:2]}), tmp_path / "c.parquet")
    assert read_catalog(tmp_path / "c.parquet")["object_id"].to_pylist() == [str(2**64 - 1), "7"]


def test_missing_ids_become_row_numbers(tmp_path):
    write(Table({"ra": RA, "dec": DEC}), tmp_path / "c.fits")
    table = read_catalog(tmp_path / "c.fits")
    assert table["object_id"].to_pylist() == ["0", "1", "2"]
    assert noted(table)["columns"]["object_id"] == ROW_NUMBER


def test_legacy_survey_ids_are_joined(tmp_path):
    table = Table(
        {"RELEASE": [9010, 9010], "BRICKID": [330368, 330369], "OBJID": [7, 7]}
        | {"RA": [1.0, 2.0], "DEC": [1.0, 2.0]}
    )
    write(table, tmp_path / "c.fits")
    read = read_catalog(tmp_path / "c.fits")
    assert read["object_id"].to_pylist() == ["9010_330368_7", "9010_330369_7"]
    assert read["OBJID"].to_pylist() == [7, 7]
    assert noted(read)["columns"]["object_id"] == "RELEASE_BRICKID_OBJID"


def test_repeated_and_empty_ids_are_refused(tmp_path):
    (tmp_path / "twice.csv").write_text("id,ra,dec\n5,1,1\n5,2,2\n")
    with pytest.raises(TableError, match=r"twice.csv: .* for example 5 \(2 times\)"):
        read_catalog(tmp_path / "twice.csv")
    (tmp_path / "empty.csv").write_text("id,ra,dec\n5,1,1\n ,2,2\n")
    with pytest.raises(CatalogError, match="1 of 2 rows have no id in id"):
        read_catalog(tmp_path / "empty.csv")


def test_ids_may_repeat_in_another_survey(tmp_path):
    (tmp_path / "c.csv").write_text("id,survey,ra,dec\n5,sdss,1,1\n5,hsc,2,2\n")
    assert len(read_catalog(tmp_path / "c.csv")) == 2
