import gzip
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogs.reading import read_catalog
from catalogs.reading.columns import ROW_NUMBER
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.tables import read_metadata, with_metadata, write_table

BIG = [1237648720693755918, 2**62 + 1, 2**53 + 1]
RA, DEC = [10.125, 200.5, 359.875], [-45.25, 0.0, 89.5]


def _astropy_table():
    table = Table(
        {
            "OBJID": np.array(BIG),
            "RA": np.array(RA),
            "DEC": np.array(DEC),
            "mag": MaskedColumn(np.array([17.5, 18.5, 19.5], "f4"), unit="mag"),
            "class": ["spiral", "smooth", "bar"],
            "good": [True, False, True],
            "n": MaskedColumn([1, 2, 3], mask=[False, True, False]),
        }
    )
    table["RA"].unit = table["DEC"].unit = "deg"
    return table


def _write(table, path):
    forms = {"fits": "fits", "vot": "votable", "xml": "votable", "ecsv": "ascii.ecsv"}
    suffix = path.name.removesuffix(".gz").rsplit(".", 1)[-1]
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pandas(table.to_pandas()), path)
    else:
        table.write(path, format=forms.get(suffix, "ascii.csv"))


def _noted(table):
    return read_metadata(table.schema)["catalog"]


ENDINGS = ["fits", "fits.gz", "vot", "vot.gz", "xml", "ecsv", "csv", "parquet"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_table(tmp_path, ending):
    path = tmp_path / f"catalog.{ending}"
    _write(_astropy_table(), path)
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
    assert _noted(table)["columns"] == {"object_id": "OBJID", "ra": "RA", "dec": "DEC"}
    assert _noted(table)["file"] == path.name


@pytest.mark.parametrize("ending", ["fits", "vot", "ecsv"])
def test_units_are_honoured_and_the_input_kept(tmp_path, ending):
    table = Table({"id": ["x", "y"], "ra": [1.0, 23.5], "dec": np.radians([30.0, -60.0])})
    table["ra"].unit = "hourangle" if ending == "ecsv" else "h"  # only ECSV knows hourangle
    table["dec"].unit = "rad"
    _write(table, tmp_path / f"c.{ending}")
    read = read_catalog(tmp_path / f"c.{ending}")
    np.testing.assert_allclose(read["ra"], [15.0, 352.5], rtol=1e-15)
    np.testing.assert_allclose(read["dec"], [30.0, -60.0], rtol=1e-15)
    assert read["ra_input"].to_pylist() == [1.0, 23.5]
    assert read.schema.field("dec_input").metadata == {b"unit": b"rad"}
    assert _noted(read)["units"] == {"ra": str(table["ra"].unit), "dec": "rad"}
    assert "the file's column ra is kept as ra_input" in _noted(read)["notes"]


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
    _write(table, tmp_path / "c.fits")
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
    assert _noted(table)["units"] == {"ra": "hourangle", "dec": "deg"}


def test_numbers_written_as_text_are_degrees(tmp_path):
    _write(Table({"id": ["a"], "RAJ2000": ["150.25"], "DEJ2000": ["-2.5"]}), tmp_path / "c.fits")
    table = read_catalog(tmp_path / "c.fits")
    assert table.to_pylist()[0]["ra"] == 150.25
    assert table.to_pylist()[0]["dec"] == -2.5


def test_a_skycoord_column_is_found(tmp_path):
    sky = SkyCoord([10.5, 20.5] * u.deg, [1.0, 2.0] * u.deg)
    QTable({"id": ["x", "y"], "position": sky}).write(tmp_path / "c.ecsv")
    table = read_catalog(tmp_path / "c.ecsv")
    assert table["ra"].to_pylist() == [10.5, 20.5]
    assert _noted(table)["columns"]["dec"] == "position.dec"


# Which column is which


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
    assert tuple(_noted(table)["columns"].values()) == names
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
        ("id,name,ra,dec", "object_id could be any of id, name; say which by object_id=NAME"),
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
    _write(_astropy_table(), tmp_path / "c.fits")
    first = read_catalog(tmp_path / "c.fits")
    write_table(first, tmp_path / "c.parquet")
    assert read_catalog(tmp_path / "c.parquet").equals(first)


# Ids


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ids=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5, unique=True))
@pytest.mark.parametrize("ending", ["fits", "ecsv", "csv", "parquet"])
def test_integer_ids_keep_every_digit(tmp_path, ending, ids):
    zeros = np.zeros(len(ids))
    table = Table({"id": np.array(ids, np.uint64), "ra": zeros, "dec": zeros})
    path = tmp_path / f"c.{ending}"
    path.unlink(missing_ok=True)
    _write(table, path)
    assert read_catalog(path)["object_id"].to_pylist() == [str(number) for number in ids]


@pytest.mark.parametrize("ending", ["fits", "vot", "ecsv", "csv", "parquet"])
def test_float_ids_are_refused(tmp_path, ending):
    _write(Table({"id": [1.5e18, 2.5], "ra": [1.0, 2], "dec": [1.0, 2]}), tmp_path / f"c.{ending}")
    with pytest.raises(CatalogError, match=r"ids in id are stored as .* loses digits"):
        read_catalog(tmp_path / f"c.{ending}")


def test_ids_that_are_whole_decimals_are_read(tmp_path):
    ids = pa.array([Decimal(2**64 - 1), Decimal(7)], pa.decimal128(20, 0))
    pq.write_table(pa.table({"id": ids, "ra": RA[:2], "dec": DEC[:2]}), tmp_path / "c.parquet")
    assert read_catalog(tmp_path / "c.parquet")["object_id"].to_pylist() == [str(2**64 - 1), "7"]


def test_missing_ids_become_row_numbers(tmp_path):
    _write(Table({"ra": RA, "dec": DEC}), tmp_path / "c.fits")
    table = read_catalog(tmp_path / "c.fits")
    assert table["object_id"].to_pylist() == ["0", "1", "2"]
    assert _noted(table)["columns"]["object_id"] == ROW_NUMBER


def test_legacy_survey_ids_are_joined(tmp_path):
    table = Table(
        {"RELEASE": [9010, 9010], "BRICKID": [330368, 330369], "OBJID": [7, 7]}
        | {"RA": [1.0, 2.0], "DEC": [1.0, 2.0]}
    )
    _write(table, tmp_path / "c.fits")
    read = read_catalog(tmp_path / "c.fits")
    assert read["object_id"].to_pylist() == ["9010_330368_7", "9010_330369_7"]
    assert read["OBJID"].to_pylist() == [7, 7]
    assert _noted(read)["columns"]["object_id"] == "RELEASE_BRICKID_OBJID"


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


# What files hold


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
    assert _noted(table)["notes"] == ["dec is single precision, good to 0.1 arcsec at best"]


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
    _write(_astropy_table()[:0], tmp_path / f"c.{ending}")
    table = read_catalog(tmp_path / f"c.{ending}")
    assert len(table) == 0
    assert table.schema.types[:3] == [pa.string(), pa.float64(), pa.float64()]


def test_hours_without_a_unit_are_noted(tmp_path):
    (tmp_path / "hours.csv").write_text("id,ra,dec\n1,0.5,0\n2,23.5,0\n")
    assert _noted(read_catalog(tmp_path / "hours.csv"))["notes"] == [
        "ra has no unit and spans 0.5 to 23.5: hours? then read it with unit=hourangle"
    ]
    (tmp_path / "field.csv").write_text("id,ra,dec\n1,9.5,0\n2,11.5,0\n")
    assert _noted(read_catalog(tmp_path / "field.csv"))["notes"] == []


# What cannot be read


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
    (tmp_path / "c.dat").touch()
    with pytest.raises(CatalogError, match=r"unknown format 'dat'; .* \.ecsv, \.csv, \.parquet"):
        read_catalog(tmp_path / "c.dat")


# Frames, units and epochs


def _sky(n=40):
    rng = np.random.default_rng(3)
    return SkyCoord(rng.uniform(0, 360, n), rng.uniform(-80, 80, n), unit="deg")


def _missed(table, sky):
    return SkyCoord(table["ra"].to_numpy(), table["dec"].to_numpy(), unit="deg").separation(sky)


def test_galactic_columns_are_found_if_there_is_no_ra(tmp_path):
    sky = _sky()
    Table({"id": np.arange(40), "GLON": sky.galactic.l.deg, "GLAT": sky.galactic.b.deg}).write(
        tmp_path / "c.csv"
    )
    table = read_catalog(tmp_path / "c.csv")
    assert _missed(table, sky).arcsec.max() < 1e-6
    assert _noted(table)["columns"]["ra"] == "GLON"
    assert _noted(table)["frame"] == "galactic"
    assert table["GLON"].to_pylist() == pytest.approx(sky.galactic.l.deg)


def test_b1950_columns_are_precessed(tmp_path):
    sky = _sky()
    Table({"id": np.arange(40), "RAB1950": sky.fk4.ra.deg, "DEB1950": sky.fk4.dec.deg}).write(
        tmp_path / "c.csv"
    )
    assert _missed(read_catalog(tmp_path / "c.csv"), sky).arcsec.max() < 1e-4


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"RADESYS": "FK5", "EQUINOX": 1975.0}, "fk5(J1975)"),
        ({"RADESYS": "FK5"}, "fk5(J2000)"),
        ({"EQUINOX": 2000.0}, "fk5(J2000)"),
        ({"EQUINOX": 1950.0}, "fk4(B1950)"),
        ({"RADESYS": "ICRS", "EQUINOX": 2000.0}, "icrs"),
        ({}, "icrs"),
    ],
)
def test_the_frame_of_a_fits_header_is_transformed(tmp_path, cards, frame):
    sky = _sky()
    name, _, equinox = frame.rstrip(")").partition("(")
    options = {"equinox": equinox} if equinox else {}
    there = sky.transform_to(
        SkyCoord(0 * u.deg, 0 * u.deg, frame=name, **options).frame.replicate_without_data()
    )
    table = Table({"id": np.arange(40), "ra": there.ra.deg, "dec": there.dec.deg}, meta=cards)
    table.write(tmp_path / "c.fits")
    read = read_catalog(tmp_path / "c.fits")
    assert _missed(read, sky).arcsec.max() < 1e-4
    asked = read_catalog(tmp_path / "c.fits", frame="icrs")
    assert asked["ra"].to_pylist() == there.ra.deg.tolist()


@pytest.mark.parametrize("frame", ["galactic", "fk4", "barycentricmeanecliptic"])
def test_the_frame_of_a_skycoord_column_is_transformed(tmp_path, frame):
    sky = _sky()
    there = sky.transform_to(frame)
    QTable({"id": np.arange(40), "place": there}).write(tmp_path / "c.ecsv")
    names = [f"place.{name}" for name in there.frame.representation_component_names][:2]
    read = read_catalog(tmp_path / "c.ecsv", ra=names[0], dec=names[1])
    assert _missed(read, sky).arcsec.max() < 1e-4


VOTABLE = """<?xml version="1.0"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>
{systems}
<TABLE>
<FIELD name="id" datatype="int"/>
<FIELD name="lon" datatype="double" unit="deg" ref="{lon}"/>
<FIELD name="lat" datatype="double" unit="deg" ref="{lat}"/>
<FIELD name="pmRA" datatype="double" unit="arcsec/yr"/>
<FIELD name="pmDE" datatype="double" unit="arcsec/yr"/>
<DATA><TABLEDATA><TR><TD>1</TD><TD>266.40499</TD><TD>-28.93617</TD><TD>1</TD><TD>0</TD></TR>
<TR><TD>2</TD><TD>10</TD><TD>0</TD><TD>0</TD><TD>1</TD></TR></TABLEDATA></DATA>
</TABLE></RESOURCE></VOTABLE>
"""
SYSTEMS = '<COOSYS ID="gal" system="galactic"/><COOSYS ID="eq" system="ICRS" epoch="J2000"/>'


def _votable(path, lon, lat):
    path.write_text(VOTABLE.format(systems=SYSTEMS, lon=lon, lat=lat))
    return {"path": path, "ra": "lon", "dec": "lat"}


def test_the_coosys_of_a_votable_is_transformed_and_its_epoch_used(tmp_path):
    galactic = read_catalog(**_votable(tmp_path / "c.vot", "gal", "gal"))
    expected = SkyCoord([266.40499, 10], [-28.93617, 0], unit="deg", frame="galactic").icrs
    assert _missed(galactic, expected).arcsec.max() < 1e-6
    moved = read_catalog(**_votable(tmp_path / "c.vot", "eq", "eq"), epoch=2016.0)
    east = 16 / 3600 / np.cos(np.radians(-28.93617))
    np.testing.assert_allclose(moved["ra"], [266.40499 + east, 10], atol=1e-7)
    np.testing.assert_allclose(moved["dec"], [-28.93617, 16 / 3600], atol=1e-7)


def test_mixed_frames_are_refused_in_one_line(tmp_path):
    with pytest.raises(CatalogError, match="lon is in frame galactic but lat in ICRS; name two"):
        read_catalog(**_votable(tmp_path / "c.vot", "gal", "eq"))
    (tmp_path / "rows.csv").write_text("id,ra,dec,radecsys\n1,1,2,FK4\n2,3,4,FK5\n")
    with pytest.raises(CatalogError, match=r"rows are in 2 frames \(FK4, FK5\) by column radecsys"):
        read_catalog(tmp_path / "rows.csv")
    (tmp_path / "columns.csv").write_text("id,RAJ2000,DE_ICRS\n1,1,2\n")
    with pytest.raises(CatalogError, match="ra would come from RAJ2000 but dec from DE_ICRS"):
        read_catalog(tmp_path / "columns.csv")


def test_an_unknown_frame_is_refused(tmp_path):
    Table({"ra": [1.0], "dec": [1.0]}, meta={"RADESYS": "GAPPT"}).write(tmp_path / "c.fits")
    with pytest.raises(CatalogError, match=r"frame 'GAPPT' is not known; .* by frame=NAME"):
        read_catalog(tmp_path / "c.fits")
    assert len(read_catalog(tmp_path / "c.fits", frame="fk5")) == 1


def test_the_unit_of_the_options_wins(tmp_path):
    (tmp_path / "c.csv").write_text("id,ra,dec\n1,0.5,-30\n2,23.5,60\n")
    table = read_catalog(tmp_path / "c.csv", unit="hourangle")
    np.testing.assert_allclose(table["ra"], [7.5, 352.5], rtol=1e-15)
    assert table["dec"].to_pylist() == [-30, 60]
    (tmp_path / "c.csv").write_text("id,ra,dec\n1,1,-0.5\n")
    table = read_catalog(tmp_path / "c.csv", unit="rad")
    np.testing.assert_allclose(table["dec"], [-90 / np.pi])


@pytest.mark.parametrize("unit", ["hourangle", "rad"])
def test_degrees_under_another_unit_are_refused(tmp_path, unit):
    table = Table({"id": [1, 2], "ra": [10.0, 230.0], "dec": [1.0, 2.0]})
    table["ra"].unit = unit
    table.write(tmp_path / "c.ecsv")
    with pytest.raises(
        CatalogError, match=rf"ra has the unit '{unit}' but reaches 230, which only"
    ):
        read_catalog(tmp_path / "c.ecsv")
    assert read_catalog(tmp_path / "c.ecsv", unit="deg")["ra"].to_pylist() == [10, 230]


def test_proper_motions_need_an_epoch_and_rows_may_lack_them(tmp_path):
    text = "id,ra,dec,pmra,pmdec\n1,10,20,1000,-1000\n2,30,40,,\n"
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(CatalogError, match="no epoch to move them from; give reference_epoch=YEAR"):
        read_catalog(tmp_path / "c.csv", epoch=2016.0)
    table = read_catalog(tmp_path / "c.csv", epoch=2016.0, reference_epoch=2000.0)
    np.testing.assert_allclose(table["dec"], [20 - 16 / 3600, 40], atol=1e-7)
    np.testing.assert_allclose(
        table["ra"], [10 + 16 / 3600 / np.cos(np.radians(20)), 30], atol=1e-6
    )
    assert _noted(table)["notes"][:3] == [
        "pmra has no unit and is taken to be in mas / yr",
        "pmdec has no unit and is taken to be in mas / yr",
        "1 of 2 rows have no proper motion and stay",
    ]
    assert read_catalog(tmp_path / "c.csv")["dec"].to_pylist() == [20, 40]


def test_epochs_by_row_must_be_years(tmp_path):
    (tmp_path / "c.csv").write_text(
        "id,ra,dec,pmra,pmdec,epoch\n1,10,20,1,1,2015.5\n2,3,4,1,1,57388\n"
    )
    table = read_catalog(tmp_path / "c.csv", epoch=2016.0)
    assert np.isnan(table["ra"].to_numpy()).tolist() == [False, True]
    assert "epoch of row 1 is 57388; expected Julian years" in " ".join(_noted(table)["notes"])
    with pytest.raises(CatalogError, match="2 of 2 rows are bad; give reference_epoch=YEAR"):
        (tmp_path / "d.csv").write_text("ra,dec,pmra,pmdec,epoch\n1,1,1,1,57388\n2,2,1,1,\n")
        read_catalog(tmp_path / "d.csv", epoch=2016.0)
    with pytest.raises(
        ValueError, match=r"an epoch must be a Julian year such as 2016.0 but is 16"
    ):
        read_catalog(tmp_path / "c.csv", epoch=16)


def test_position_errors_come_from_one_column_or_two(tmp_path):
    table = Table({"id": [1, 2], "ra": [1.0, 2.0], "dec": [3.0, 4.0], "e": [3.0, 4.0]})
    table["e_ra"], table["e_dec"] = [30.0, 10.0], [40.0, 10.0]
    table["e_ra"].unit = table["e_dec"].unit = "mas"
    table.write(tmp_path / "c.ecsv")
    one = read_catalog(tmp_path / "c.ecsv", position_error="e", position_error_unit="arcsec")
    assert one["position_error_arcsec"].to_pylist() == [3, 4]
    two = read_catalog(tmp_path / "c.ecsv", position_error="e_ra+e_dec")
    np.testing.assert_allclose(two["position_error_arcsec"], [np.sqrt(1250) / 1000, 0.01])
    assert "position_error_arcsec" not in read_catalog(tmp_path / "c.ecsv").column_names
    with pytest.raises(CatalogError, match="no column 'f' for position_error"):
        read_catalog(tmp_path / "c.ecsv", position_error="f")


def test_empty_errors_and_wrong_units_are_refused(tmp_path):
    (tmp_path / "c.csv").write_text(
        "id,ra,dec,e,f,pmra,pmdec,epoch\n1,1,2,,-1,1,1,2000\n2,3,4,1,,1,1,2000\n"
    )
    read = read_catalog(tmp_path / "c.csv", position_error="e", position_error_unit="mas")
    np.testing.assert_array_equal(read["position_error_arcsec"], [np.nan, 0.001])
    assert "position_error e is empty or negative in 1 of 2 rows" in _noted(read)["notes"][0]
    with pytest.raises(CatalogError, match="position_error f is empty or negative in 2 of 2 rows"):
        read_catalog(tmp_path / "c.csv", position_error="f", position_error_unit="mas")
    table = Table.read(tmp_path / "c.csv")
    table["pmra"].unit = "km/s"
    table.write(tmp_path / "c.ecsv")
    with pytest.raises(CatalogError, match=r"pmra has the unit 'km / s', which is no .*mas / yr"):
        read_catalog(tmp_path / "c.ecsv", epoch=2016.0)


# HATS, and which survey it is


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
        assert _noted(read)["columns"]["dec"] == "lat"
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
    assert _noted(read_catalog(tmp_path / "c.fits"))["surveys"] == ["DECaLS DR8-south"]
    fits.PrimaryHDU(np.zeros((2, 2)), fits.Header(cards)).writeto(tmp_path / "a.fits")
    (tmp_path / "b.fits").write_bytes(b"broken")
    (tmp_path / "s.csv").write_text("id,ra,dec,cutout\n1,1,1,a.fits\n2,1,1,b.fits\n3,1,1,no.fits\n")
    assert _noted(read_catalog(tmp_path / "s.csv"))["surveys"] == ["DECaLS DR8-south"]
