"""Catalogues of every format give the same table."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from catalogue_helpers import BIG, DEC, RA, astropy_table, noted, write

from catalogs.reading import read_catalog
from galaxy_da.errors import CatalogError
from galaxy_da.io.tables import read_metadata, with_metadata, write_table

ENDINGS = ["fits", "fits.gz", "vot", "vot.gz", "xml", "ecsv", "csv", "parquet"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_table(tmp_path, ending):
    path = tmp_path / f"catalog.{ending}"
    write(astropy_table(), path)
    table = read_catalog(path)
    assert table.column_names[:3] == ["object_id", "ra", "dec"]
    assert table.schema.types[:3] == [pa.string(), pa.float64(), pa.float64()]
    assert table["object_id"].to_pylist() == [str(number) for number in BIG]
    assert table["ra"].to_pylist() == RA
    assert table["dec"].to_pylist() == DEC
    assert table["RA"].to_pylist() == RA
    assert table["mag"].to_pylist() == [17.5, 18.5, 19.5]
    assert table["class"].to_pylist() == ["spiral", "smooth", "bar"]
    assert [str(value) for value in table["good"].to_pylist()] == ["True", "False", "True"]
    assert table["n"].to_pylist() == [1, None, 3]
    assert noted(table)["columns"] == {"object_id": "OBJID", "ra": "RA", "dec": "DEC"}
    assert noted(table)["file"] == path.name


@pytest.mark.parametrize("ending", ["fits", "vot", "ecsv"])
def test_units_are_honoured_and_the_input_kept(tmp_path, ending):
    table = Table({"id": ["x", "y"], "ra": [1.0, 23.5], "dec": np.radians([30.0, -60.0])})
    table["ra"].unit = "hourangle" if ending == "ecsv" else "h"  # only ECSV knows hourangle
    table["dec"].unit = "rad"
    write(table, tmp_path / f"c.{ending}")
    read = read_catalog(tmp_path / f"c.{ending}")
    np.testing.assert_allclose(read["ra"], [15.0, 352.5], rtol=1e-15)
    np.testing.assert_allclose(read["dec"], [30.0, -60.0], rtol=1e-15)
    assert read["ra_input"].to_pylist() == [1.0, 23.5]
    assert read.schema.field("dec_input").metadata == {b"unit": b"rad"}
    assert noted(read)["units"] == {"ra": str(table["ra"].unit), "dec": "rad"}
    assert "the file's column ra is kept as ra_input" in noted(read)["notes"]


def test_nonstandard_spellings_of_units_are_read(tmp_path):
    columns = [
        fits.Column("ra", "D", unit="RADIANS", array=np.array([np.pi])),
        fits.Column("dec", "D", unit="Degrees", array=np.array([5.0])),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "c.fits")
    table = read_catalog(tmp_path / "c.fits")
    np.testing.assert_allclose([table["ra"][0].as_py(), table["dec"][0].as_py()], [180, 5])


def test_a_unit_that_is_no_angle_is_refused(tmp_path):
    table = Table({"ra": [1.0], "dec": [1.0]})
    table["ra"].unit = "Jy"
    write(table, tmp_path / "c.fits")
    with pytest.raises(CatalogError, match="ra has the unit 'Jy', which is no angle; expected deg"):
        read_catalog(tmp_path / "c.fits")


def test_sexagesimal_text_is_read_as_astropy_reads_it(tmp_path):
    lines = "id,ra,dec\n1,12:34:56.7,-00:30:00.5\n2,01h02m03s,+89d59m59s\n"
    (tmp_path / "c.csv").write_text(lines)
    table = read_catalog(tmp_path / "c.csv")
    expected = SkyCoord(
        ["12:34:56.7", "01h02m03s"], ["-00:30:00.5", "+89d59m59s"], unit=("hourangle", "deg")
    )
    np.testing.assert_allclose(table["ra"], expected.ra.deg, rtol=1e-14)
    np.testing.assert_allclose(table["dec"], expected.dec.deg, rtol=1e-14)
    assert table["dec_input"].to_pylist() == ["-00:30:00.5", "+89d59m59s"]
    assert noted(table)["units"] == {"ra": "hourangle", "dec": "deg"}


def test_numbers_written_as_text_are_degrees(tmp_path):
    write(Table({"id": ["a"], "RAJ2000": ["150.25"], "DEJ2000": ["-2.5"]}), tmp_path / "c.fits")
    table = read_catalog(tmp_path / "c.fits")
    assert table.to_pylist()[0]["ra"] == 150.25
    assert table.to_pylist()[0]["dec"] == -2.5


def test_a_skycoord_column_is_found(tmp_path):
    sky = SkyCoord([10.5, 20.5] * u.deg, [1.0, 2.0] * u.deg)
    QTable({"id": ["x", "y"], "position": sky}).write(tmp_path / "c.ecsv")
    table = read_catalog(tmp_path / "c.ecsv")
    assert table["ra"].to_pylist() == [10.5, 20.5]
    assert noted(table)["columns"]["dec"] == "position.dec"


def test_fits_columns_of_every_kind(tmp_path):
    columns = [
        fits.Column("ra", "D", array=[1.0, 2.0]),
        fits.Column("dec", "E", array=[3.0, 4.0]),
        fits.Column("flux", "6E", dim="(3,2)", array=np.arange(12.0).reshape(2, 2, 3)),
        fits.Column("ids", "PJ()", array=np.array([np.array([1, 2]), np.array([3])], object)),
        fits.Column("vis", "C", array=np.array([1 + 2j, 3])),
        fits.Column("bands", "4A", dim="(2,2)", array=np.array([["g", "r"], ["i", "z"]])),
        fits.Column("nan", "D", array=[np.nan, 1.0]),
    ]
    image = fits.ImageHDU(np.zeros((2, 2)))
    hdus = [fits.PrimaryHDU(), image, fits.BinTableHDU.from_columns(columns)]
    fits.HDUList([*hdus, fits.BinTableHDU.from_columns(columns[:2])]).writeto(tmp_path / "c.fits")
    table = read_catalog(tmp_path / "c.fits", table="2")
    assert table["flux"].to_pylist() == np.arange(12.0).reshape(2, 2, 3).tolist()
    assert table["ids"].to_pylist() == [[1, 2], [3]]
    assert table["vis"].to_pylist() == [[1.0, 2.0], [3.0, 0.0]]
    assert table["bands"].to_pylist() == [["g", "r"], ["i", "z"]]
    assert np.isnan(table["nan"][0].as_py())
    assert noted(table)["notes"] == ["dec is single precision, good to 0.1 arcsec at best"]


def test_csv_below_comment_lines_and_compressed(tmp_path):
    text = "#Table1\nobjid,ra,dec\n1237648720693755918,10.5,20.5\n"
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(text.encode()))
    table = read_catalog(tmp_path / "c.csv.gz")
    assert table["object_id"].to_pylist() == ["1237648720693755918"]


def test_sample_tables_are_read_without_their_images(tmp_path):
    sample = pa.table(
        {
            "survey": ["sdss", "sdss"],
            "object_id": ["1", "2"],
            "ra": [1.0, 2.0],
            "dec": [3.0, 4.0],
            "image": [b"jpeg", b"jpeg"],
        }
    )
    write_table(with_metadata(sample, {"seed": 5}), tmp_path / "s.parquet")
    table = read_catalog(tmp_path / "s.parquet")
    assert table.column_names == ["object_id", "ra", "dec", "survey"]
    assert read_metadata(table.schema)["seed"] == 5


def test_text_and_number_columns_called_image_stay(tmp_path):
    (tmp_path / "c.csv").write_text("id,ra,dec,image\n1,2,3,a.jpg\n")
    first = read_catalog(tmp_path / "c.csv")
    write_table(first, tmp_path / "c.parquet")
    assert read_catalog(tmp_path / "c.parquet")["image"].to_pylist() == ["a.jpg"]


@pytest.mark.parametrize("ending", ["fits", "vot", "ecsv", "csv", "parquet"])
def test_an_empty_catalogue_is_an_empty_table(tmp_path, ending):
    write(astropy_table()[:0], tmp_path / f"c.{ending}")
    table = read_catalog(tmp_path / f"c.{ending}")
    assert len(table) == 0
    assert table.schema.types[:3] == [pa.string(), pa.float64(), pa.float64()]


def test_hours_without_a_unit_are_noted(tmp_path):
    (tmp_path / "hours.csv").write_text("id,ra,dec\n1,0.5,0\n2,23.5,0\n")
    assert noted(read_catalog(tmp_path / "hours.csv"))["notes"] == [
        "ra has no unit and spans 0.5 to 23.5: hours? then read it with unit=hourangle"
    ]
    (tmp_path / "field.csv").write_text("id,ra,dec\n1,9.5,0\n2,11.5,0\n")
    assert noted(read_catalog(tmp_path / "field.csv"))["notes"] == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "1,2,95",
            "dec reaches 95 while ra stays within 2 to 2; .* swapped; read with ra=dec and dec=ra",
        ),
        (
            "1,,3\n2,,4",
            r"2 of 2 rows have no usable position \(the first is row 0: ra is empty or no angle\)",
        ),
        ("1,-361,3", "ra is -361 deg"),
        ("1,north,3", "ra is empty or no angle"),
        ("1,2000-01-01,3", "ra must be numbers or text but ra holds date32"),
    ],
)
def test_bad_positions_are_named(tmp_path, rows, message):
    (tmp_path / "c.csv").write_text(f"id,ra,dec\n{rows}\n")
    with pytest.raises(CatalogError, match=message):
        read_catalog(tmp_path / "c.csv")


@pytest.mark.parametrize(
    ("ending", "form"),
    [("fits", "FITS"), ("vot", "VOTable"), ("ecsv", "ECSV"), ("parquet", "Parquet")],
)
def test_broken_files_are_one_clear_line(tmp_path, ending, form):
    path = tmp_path / f"c.{ending}"
    path.write_text("no such thing\n")
    with pytest.raises(CatalogError, match=rf"c.{ending}: cannot be read as {form} \(") as error:
        read_catalog(path)
    assert "\n" not in str(error.value)


def test_a_fits_image_is_no_catalogue(tmp_path):
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "c.fits")
    with pytest.raises(CatalogError, match="cannot be read as FITS"):
        read_catalog(tmp_path / "c.fits")


def test_missing_and_unknown_files_are_named(tmp_path):
    with pytest.raises(CatalogError, match=r"c\.fits: no such file"):
        read_catalog(tmp_path / "c.fits")
    with pytest.raises(
        CatalogError, match="is a folder but no HATS catalogue: it should hold hats"
    ):
        read_catalog(tmp_path)
    (tmp_path / "c.doc").touch()
    with pytest.raises(CatalogError, match=r"unknown format 'doc'; .* \.ecsv, \.csv, .*\.parquet"):
        read_catalog(tmp_path / "c.doc")


def _hats(folder, table):
    (folder / "dataset").mkdir(parents=True)
    for number in range(3):
        part = folder / "dataset" / "Norder=1" / "Dir=0" / f"Npix={number}.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.slice(number * 2, 2), part)
    pq.write_table(table.slice(0, 0), folder / "dataset" / "_metadata")
    (folder / "hats.properties").write_text(
        "#HATS catalog\nhats_col_ra=lon\nhats_col_dec=lat\nhats_nrows=6\n"
    )


def test_a_hats_folder_or_collection_is_read(tmp_path):
    table = pa.table(
        {
            "object_id": [f"o{k}" for k in range(6)],
            "lon": np.arange(6.0),
            "lat": -np.arange(6.0),
            "ra": np.zeros(6),
            "image": [b"pixels"] * 6,
        }
    )
    _hats(tmp_path / "sky" / "main", table)
    (tmp_path / "sky" / "collection.properties").write_text("hats_primary_table_url=main\n")
    for folder in (tmp_path / "sky" / "main", tmp_path / "sky"):
        read = read_catalog(folder)
        assert read["object_id"].to_pylist() == [f"o{k}" for k in range(6)]
        assert read["ra"].to_pylist() == list(range(6))
        assert noted(read)["columns"]["dec"] == "lat"
        assert "image" not in read.column_names
    assert read_catalog(folder, ra="ra", dec="lat")["ra"].to_pylist() == [0] * 6


def test_a_hats_catalogue_that_lacks_rows_is_refused_with_both_numbers(tmp_path):
    rows = {"object_id": [f"o{k}" for k in range(6)], "lon": np.arange(6.0), "lat": np.zeros(6)}
    _hats(tmp_path / "sky", pa.table(rows))
    next((tmp_path / "sky").rglob("Npix=1.parquet")).unlink()
    with pytest.raises(CatalogError, match=r"sky: its properties state 6 rows .* hold 4; some"):
        read_catalog(tmp_path / "sky")
    properties = tmp_path / "sky" / "hats.properties"
    properties.write_text(properties.read_text().replace("hats_nrows=6\n", ""))
    assert len(read_catalog(tmp_path / "sky")) == 4


def test_surveys_are_noted_from_headers_of_tables_and_cutouts(tmp_path):
    cards = {"SURVEY": "DECaLS", "VERSION": "DR8-south"}
    Table({"ra": [1.0], "dec": [1.0]}, meta=cards).write(tmp_path / "c.fits")
    assert noted(read_catalog(tmp_path / "c.fits"))["surveys"] == ["DECaLS DR8-south"]
    fits.PrimaryHDU(np.zeros((2, 2)), fits.Header(cards)).writeto(tmp_path / "a.fits")
    (tmp_path / "b.fits").write_bytes(b"broken")
    (tmp_path / "s.csv").write_text("id,ra,dec,cutout\n1,1,1,a.fits\n2,1,1,b.fits\n3,1,1,no.fits\n")
    assert noted(read_catalog(tmp_path / "s.csv"))["surveys"] == ["DECaLS DR8-south"]
