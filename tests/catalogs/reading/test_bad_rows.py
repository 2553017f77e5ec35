"""Rows without a usable position are kept and counted; the others have astropy's positions."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.table import MaskedColumn, Table
from catalogue_helpers import noted

from catalogs.reading import read_catalog

NAN = np.nan


@pytest.mark.parametrize(
    ("rows", "ra", "dec"),
    [
        ("150.1,2\n,3\n151,4", [150.1, NAN, 151], [2, NAN, 4]),
        ("150.1,2\n--,3\n151,--", [150.1, NAN, NAN], [2, NAN, NAN]),
        ("150.1,2\n\\N,3\nnone,4", [150.1, NAN, NAN], [2, NAN, NAN]),
        ("150.1,2\ninf,3\n151,-inf", [150.1, NAN, NAN], [2, NAN, NAN]),
        ("150.1,2\n-999,-999\n151,4", [150.1, NAN, 151], [2, NAN, 4]),
        ("50.1,2\n51,99\n52,4", [50.1, NAN, 52], [2, NAN, 4]),
        ("350.1,2\n-1,1\n352,4", [350.1, NAN, 352], [2, NAN, 4]),
        ("400,2\n350,1", [NAN, 350], [NAN, 1]),
        ("10:00:00,-2:30:00\nnone,3\n12:30:00,4", [150, NAN, 187.5], [-2.5, NAN, 4]),
        ("10:00:00,-2:30:00\n25:00:00,3:00:00\n1:99:00,4", [150, NAN, NAN], [-2.5, NAN, NAN]),
        ("150.1,2\n10:00:00,3\n151,4", [150.1, NAN, 151], [2, NAN, 4]),
    ],
)
def test_bad_rows_of_text_are_kept_without_a_position(tmp_path, rows, ra, dec):
    (tmp_path / "c.csv").write_text(f"ra,dec\n{rows}\n")
    table = read_catalog(tmp_path / "c.csv")
    np.testing.assert_allclose(table["ra"], ra, atol=1e-12)
    np.testing.assert_allclose(table["dec"], dec, atol=1e-12)
    said = " ".join(noted(table)["notes"])
    assert f"{np.isnan(ra).sum()} of {len(ra)} rows" in said and "match nothing" in said


@pytest.mark.parametrize("ending", ["fits", "vot", "ecsv", "parquet"])
def test_masked_and_infinite_positions_in_any_format_and_frame(tmp_path, ending):
    rng = np.random.default_rng(3)
    lon, lat = rng.uniform(0, 360, 30), rng.uniform(-80, 80, 30)
    bad = np.zeros(30, bool)
    bad[[3, 8, 20]] = True
    values = np.where(np.arange(30) == 20, np.inf, lon)
    table = Table({"id": np.arange(30), "b": lat})
    table["l"] = MaskedColumn(values, mask=np.isin(np.arange(30), [3, 8]))
    if ending == "parquet":
        columns = {"id": np.arange(30), "b": lat, "l": pa.array(values, mask=table["l"].mask)}
        pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    else:
        table.write(tmp_path / f"c.{ending}", format="votable" if ending == "vot" else None)
    read = read_catalog(tmp_path / f"c.{ending}")
    true = SkyCoord(lon, lat, frame="galactic", unit="deg").icrs
    np.testing.assert_allclose(read["ra"], np.where(bad, NAN, true.ra.deg), atol=1e-9)
    np.testing.assert_allclose(read["dec"], np.where(bad, NAN, true.dec.deg), atol=1e-9)
    assert "3 of 30 rows have no usable position (the first is row 3" in noted(read)["notes"][0]


@pytest.mark.parametrize("signed", [True, False])
def test_angles_that_look_like_times_are_angles(tmp_path, signed):
    ra = ["10:00:00", "00:42:44", "23:59:59"]
    dec = (
        ["+02:00:00", "+41:16:09", "+10:00:01"] if signed else ["02:00:00", "01:16:09", "10:00:01"]
    )
    rows = "\n".join(map(",".join, zip("abc", ra, dec, strict=True)))
    (tmp_path / "c.csv").write_text(f"id,ra,dec\n{rows}\n")
    table = read_catalog(tmp_path / "c.csv")
    np.testing.assert_allclose(table["ra"], Angle(ra, u.hourangle).deg, atol=1e-10)
    np.testing.assert_allclose(table["dec"], Angle(dec, u.deg).deg, atol=1e-10)
    assert table["ra_input"].to_pylist() == ra


def test_decimal_columns_are_numbers(tmp_path):
    columns = {"id": [7, 8], "ra": [Decimal("150.1234567"), None], "dec": [Decimal("-2.5")] * 2}
    table = pa.table({**columns, "mag": [Decimal("19.25"), None]})
    pq.write_table(table, tmp_path / "c.parquet")
    read = read_catalog(tmp_path / "c.parquet")
    np.testing.assert_array_equal(read["ra"], [150.1234567, NAN])
    np.testing.assert_array_equal(read["dec"], [-2.5, NAN])
    assert read["mag"].to_pylist() == [Decimal("19.25"), None]
