"""Frames, epochs, units and position errors of catalogues."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from catalogue_helpers import noted

from catalogs.reading import read_catalog
from galaxy_da.errors import CatalogError


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
    assert noted(table)["columns"]["ra"] == "GLON"
    assert noted(table)["frame"] == "galactic"
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
    assert noted(table)["notes"][:3] == [
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
    assert "epoch of row 1 is 57388; expected Julian years" in " ".join(noted(table)["notes"])
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
    assert "position_error e is empty or negative in 1 of 2 rows" in noted(read)["notes"][0]
    with pytest.raises(CatalogError, match="position_error f is empty or negative in 2 of 2 rows"):
        read_catalog(tmp_path / "c.csv", position_error="f", position_error_unit="mas")
    table = Table.read(tmp_path / "c.csv")
    table["pmra"].unit = "km/s"
    table.write(tmp_path / "c.ecsv")
    with pytest.raises(CatalogError, match=r"pmra has the unit 'km / s', which is no .*mas / yr"):
        read_catalog(tmp_path / "c.ecsv", epoch=2016.0)
