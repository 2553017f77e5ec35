"""Catalogues as archives and programs write them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import Angle
from astropy.io import ascii, fits
from astropy.table import Table
from catalogue_helpers import noted

from catalogs.reading import read_catalog

SEXTRACTOR = """\
#   1 NUMBER          Running object number
#   2 ALPHA_J2000     Right ascension of barycenter (J2000)   [deg]
#   3 DELTA_J2000     Declination of barycenter (J2000)       [deg]
#   4 MAG_AUTO        Kron-like elliptical aperture magnitude [mag]
         1  150.1234567   +2.2345678  19.5
         2  150.2234567   -2.3345678  20.5
"""
VIZIER = """\
#RESOURCE=yCat_3
#Column\tRAJ2000\t(A11)\tRight ascension
RAJ2000\tDEJ2000\tName\tVmag
"h:m:s"\t"d:m:s"\t \tmag
----------\t-----------\t-----\t------
00 42 44.3\t+41 16 08.5\tM 31\t3.44
01 33 50.9\t+30 39 36.8\tM 33\t5.72
"""


@pytest.mark.parametrize("name", ["out.cat", "out.txt", "out.csv"])
def test_a_sextractor_list_is_read_as_astropy_reads_it(tmp_path, name):
    (tmp_path / name).write_text(SEXTRACTOR)
    table, true = read_catalog(tmp_path / name), ascii.read(SEXTRACTOR, format="sextractor")
    assert table["object_id"].to_pylist() == ["1", "2"]
    for made, column in (("ra", "ALPHA_J2000"), ("dec", "DELTA_J2000"), ("MAG_AUTO", "MAG_AUTO")):
        np.testing.assert_array_equal(table[made], true[column])


def test_a_fits_file_called_cat_is_fits(tmp_path):
    Table({"NUMBER": [7], "ra": [1.0], "dec": [2.0]}).write(tmp_path / "c.fits")
    (tmp_path / "c.fits").rename(tmp_path / "c.cat")
    assert read_catalog(tmp_path / "c.cat")["object_id"].to_pylist() == ["7"]


def test_vizier_units_above_dashes_are_no_row(tmp_path):
    (tmp_path / "asu.tsv").write_text(VIZIER)
    table = read_catalog(tmp_path / "asu.tsv")
    np.testing.assert_allclose(table["ra"], Angle(["00:42:44.3", "01:33:50.9"], "hourangle").deg)
    np.testing.assert_allclose(table["dec"], Angle(["41:16:08.5", "30:39:36.8"], "deg").deg)
    assert table["object_id"].to_pylist() == ["M 31", "M 33"]
    assert table["Vmag"].to_pylist() == [3.44, 5.72]
    assert table.schema.field("Vmag").metadata == {b"unit": b"mag"}


def test_a_line_of_dashes_is_no_row(tmp_path):
    (tmp_path / "c.txt").write_text("id ra dec\n-- --- ---\n1 10 2\n")
    assert read_catalog(tmp_path / "c.txt")["ra"].to_pylist() == [10]


def test_gaia_ids_come_from_the_number(tmp_path):
    (tmp_path / "gaia.csv").write_text(
        'designation,source_id,ra,dec,pmra\n"Gaia DR3 4295806720",4295806720,45,0.5,null\n'
    )
    assert read_catalog(tmp_path / "gaia.csv")["object_id"].to_pylist() == ["4295806720"]


@pytest.mark.parametrize(
    ("names", "degrees"),
    [
        ("RA[hours],DEC[deg]", (15.0, 1.0)),
        ("ra_hours,dec_deg", (15.0, 1.0)),
        ("RA (deg),Dec (deg)", (1.0, 1.0)),
        ("ra_rad,dec_rad", (180 / np.pi, 180 / np.pi)),
    ],
)
def test_units_in_names_are_used(tmp_path, names, degrees):
    (tmp_path / "c.csv").write_text(f"id,{names}\n1,1.0,1.0\n")
    table = read_catalog(tmp_path / "c.csv")
    assert (table["ra"][0].as_py(), table["dec"][0].as_py()) == pytest.approx(degrees)


def test_radians_without_a_unit_are_noted(tmp_path):
    ra = "\n".join(f"{x},0.5" for x in np.linspace(0, 6.28, 40))
    (tmp_path / "c.csv").write_text(f"ra,dec\n{ra}\n")
    table = read_catalog(tmp_path / "c.csv")
    assert noted(table)["notes"] == ["ra has no unit and spans a circle in radians: unit=rad?"]


def test_utf16_and_spaces_after_commas(tmp_path):
    (tmp_path / "c.csv").write_text("id, ra, dec, name\n1, 10, 2, Å\n", encoding="utf-16")
    table = read_catalog(tmp_path / "c.csv")
    assert table.column_names == ["object_id", "ra", "dec", "id", "name"]
    assert table["ra"].to_pylist() == [10] and noted(table)["notes"] == []


@pytest.mark.parametrize("kind", [pa.binary(), pa.string_view(), pa.large_string()])
def test_ids_of_any_kind_of_text(tmp_path, kind):
    table = pa.table({"id": pa.array(["a", "b"]).cast(kind), "ra": [1, 2], "dec": [3, 4]})
    pq.write_table(table, tmp_path / "c.parquet")
    assert read_catalog(tmp_path / "c.parquet")["object_id"].to_pylist() == ["a", "b"]


def test_flag_bits_and_byte_swapped_columns_keep_their_values(tmp_path):
    bits = np.random.default_rng(0).random((5, 11)) < 0.5
    ids = 2**60 + np.arange(5)
    columns = [
        fits.Column("object_id", "K", array=ids),
        *(fits.Column(name, "D", array=np.arange(5.0)) for name in ("ra", "dec")),
        fits.Column("flags", "11X", array=bits),
        fits.Column("u", "J", bzero=2**31, array=np.array([0, 1, 2**31, 2**32 - 1, 7], np.uint32)),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "hsc.fits")
    table = read_catalog(tmp_path / "hsc.fits")
    assert table["object_id"].to_pylist() == [str(one) for one in ids]
    assert table["flags"].to_pylist() == bits.tolist()
    assert table["u"].to_pylist() == [0, 1, 2**31, 2**32 - 1, 7]
