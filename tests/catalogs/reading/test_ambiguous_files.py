"""Files that leave a question open: which table, which unit, which axes, which equinox."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.io.votable.tree import Resource, VOTableFile
from astropy.table import Table
from astropy.time import Time

from catalogs.reading import read_catalog
from galaxy_da.errors import CatalogError
from galaxy_da.io.tables import read_metadata


def _noted(table):
    return read_metadata(table.schema)["catalog"]


def _objects(ids):
    columns = [
        fits.Column("NUMBER", "J", array=ids),
        fits.Column("ALPHA_J2000", "D", array=np.arange(len(ids)) + 10.5),
        fits.Column("DELTA_J2000", "D", array=np.arange(len(ids)) - 20.5),
    ]
    return fits.BinTableHDU.from_columns(columns, name="LDAC_OBJECTS")


def _ldac(path, *chips):
    """Write SExtractor's FITS_LDAC: a table of header text before each table of objects."""
    hdus = [fits.PrimaryHDU()]
    for ids in chips:
        header = fits.Column("Field Header Card", "80A", array=["SIMPLE = T"])
        hdus += [fits.BinTableHDU.from_columns([header], name="LDAC_IMHEAD"), _objects(ids)]
    fits.HDUList(hdus).writeto(path)


def test_the_only_table_with_positions_is_read_and_said(tmp_path):
    _ldac(tmp_path / "c.fits", [1, 2])
    table = read_catalog(tmp_path / "c.fits")
    assert table["object_id"].to_pylist() == ["1", "2"]
    assert _noted(table)["notes"] == [
        "table 2 LDAC_OBJECTS (columns: 3) is read, the only one with positions; the others are "
        "1 LDAC_IMHEAD (columns: 1)"
    ]


def test_several_tables_are_named_and_one_is_chosen(tmp_path):
    path = tmp_path / "c.fits"
    _ldac(path, [1, 2], [3, 4])
    with pytest.raises(CatalogError, match=r"2 of its 4 tables have positions; .*, 4 LDAC_OBJECTS"):
        read_catalog(path)
    with pytest.raises(CatalogError, match=r"2 tables are called 'ldac_objects'; .* its number"):
        read_catalog(path, table="ldac_objects")
    with pytest.raises(CatalogError, match="no tables are called 'stars'; it holds 1 LDAC_IMHEAD"):
        read_catalog(path, table="stars")
    assert read_catalog(path, table="4")["object_id"].to_pylist() == ["3", "4"]
    assert read_catalog(f"{path}#2")["object_id"].to_pylist() == ["1", "2"]
    assert _noted(read_catalog(f"{path}#2"))["notes"] == []


def test_a_hash_in_the_name_of_a_file_is_part_of_it(tmp_path):
    _ldac(tmp_path / "c#1.fits", [1])
    assert len(read_catalog(tmp_path / "c#1.fits")) == 1


def test_tables_of_a_votable_are_chosen_by_name(tmp_path):
    tree = VOTableFile()
    tree.resources.append(Resource())
    for name, ra in (("stars", 1.0), ("galaxies", 2.0)):
        part = from_table(Table({"ra": [ra], "dec": [0.0]})).get_first_table()
        part.name = name
        tree.resources[0].tables.append(part)
    tree.to_xml(str(tmp_path / "c.vot"))
    with pytest.raises(CatalogError, match=r"holds 1 stars .*, 2 galaxies"):
        read_catalog(tmp_path / "c.vot")
    assert read_catalog(f"{tmp_path}/c.vot#galaxies")["ra"].to_pylist() == [2]


def test_a_table_of_a_file_with_one_table_is_refused(tmp_path):
    (tmp_path / "c.csv").write_text("ra,dec\n1,2\n")
    with pytest.raises(CatalogError, match=r"is CSV, which holds one table; leave out table=x"):
        read_catalog(tmp_path / "c.csv", table="x")


def test_missing_logicals_and_scaled_integers_stay_missing(tmp_path):
    columns = [
        fits.Column("ra", "D", array=[1.0, 2.0, 3.0]),
        fits.Column("dec", "D", array=[1.0, 2.0, 3.0]),
        fits.Column("star", "L", array=np.array([b"T", b"\0", b"F"])),
        fits.Column("n", "I", bzero=32768, null=-32768, array=np.array([5, 0, 7], np.uint16)),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "c.fits")
    table = read_catalog(tmp_path / "c.fits")
    assert table["star"].to_pylist() == [True, None, False]
    assert table["n"].to_pylist() == [5, None, 7]
    assert _noted(table)["notes"] == []


# Units of position errors


@pytest.mark.parametrize("name", ["ra_error", "pmra_error", "e_RA_ICRS", "sigma"])
def test_position_errors_without_a_unit_are_asked_for(tmp_path, name):
    (tmp_path / "c.csv").write_text(f"source_id,ra,dec,{name}\n1,10,20,0.5\n")
    with pytest.raises(CatalogError) as error:
        read_catalog(tmp_path / "c.csv", position_error=name)
    assert f"{name} has no unit" in str(error.value)
    assert "position_error_unit=UNIT (--error-unit)" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "unit", "arcsec"),
    [
        ("ra_error", "mas", 5e-4),
        ("ra_error", "arcsec", 0.5),
        ("err_mas", None, 5e-4),
        ("position_error_arcsec", None, 0.5),
        ("sigma_deg", None, 1800.0),
    ],
)
def test_position_errors_have_the_unit_that_is_said(tmp_path, name, unit, arcsec):
    (tmp_path / "c.csv").write_text(f"source_id,ra,dec,{name}\n1,10,20,0.5\n")
    table = read_catalog(tmp_path / "c.csv", position_error=name, position_error_unit=unit)
    assert table["position_error_arcsec"].to_pylist() == pytest.approx([arcsec])


# Right ascensions below zero


def test_right_ascensions_below_zero_are_turned_once(tmp_path):
    (tmp_path / "c.csv").write_text("id,ra,dec\n1,-0.25,1\n2,0.25,1\n3,-180,1\n4,-1e-16,1\n")
    table = read_catalog(tmp_path / "c.csv")
    assert table["ra"].to_pylist() == [359.75, 0.25, 180, 0]
    assert table["ra_input"].to_pylist() == [-0.25, 0.25, -180, -1e-16]
    said = _noted(table)["notes"]
    assert "3 of 4 right ascensions are below 0: 360 deg are added" in said
    assert not any("hours?" in note for note in said)


# Proper motions beside positions in another frame


@pytest.mark.parametrize(
    ("frame", "names"),
    [
        ("galactic", ("l", "b")),
        ("barycentricmeanecliptic", ("ecl_lon", "ecl_lat")),
        ("icrs", ("ra", "dec")),
    ],
)
def test_pmra_and_pmdec_follow_right_ascension_and_declination(tmp_path, frame, names):
    rng = np.random.default_rng(2)
    sky = SkyCoord(
        rng.uniform(0, 360, 20) * u.deg,
        rng.uniform(-80, 80, 20) * u.deg,
        pm_ra_cosdec=rng.normal(0, 1000, 20) * u.mas / u.yr,
        pm_dec=rng.normal(0, 1000, 20) * u.mas / u.yr,
        obstime=Time(2016, format="jyear"),
    )
    there = SkyCoord(sky.ra, sky.dec).transform_to(frame).spherical
    Table(
        {
            "id": np.arange(20),
            names[0]: there.lon.deg,
            names[1]: there.lat.deg,
            "pmra": sky.pm_ra_cosdec.value,
            "pmdec": sky.pm_dec.value,
            "ref_epoch": np.full(20, 2016.0),
        }
    ).write(tmp_path / "c.csv")
    with np.errstate(all="ignore"), pytest.warns(Warning, match="distance overridden"):
        true = sky.apply_space_motion(new_obstime=Time(2026, format="jyear"))
    table = read_catalog(tmp_path / "c.csv", epoch=2026.0)
    found = SkyCoord(table["ra"].to_numpy(), table["dec"].to_numpy(), unit="deg")
    assert found.separation(SkyCoord(true.ra, true.dec)).arcsec.max() < 1e-6
    said = "pmra and pmdec are taken to follow ICRS" in " ".join(_noted(table)["notes"])
    assert said == (frame != "icrs")


# Equinoxes written as text


@pytest.mark.parametrize(
    ("cards", "frame"),
    [
        ({"EQUINOX": "J2000"}, "fk5(J2000)"),
        ({"EQUINOX": " j2000.0 "}, "fk5(J2000)"),
        ({"EQUINOX": "2000"}, "fk5(J2000)"),
        ({"EQUINOX": "B1950"}, "fk4(B1950)"),
        ({"RADESYS": "J2000"}, "fk5(J2000)"),
        ({"RADESYS": "j2000", "EQUINOX": "J2000"}, "fk5(J2000)"),
        ({"RADESYS": "B1950"}, "fk4(B1950)"),
        ({"RADESYS": "FK5/J2000"}, "fk5(J2000)"),
        ({"EQUINOX": "1950.0"}, "fk4(B1950)"),
        ({"EQUINOX": "J1975.0", "RADESYS": "FK5"}, "fk5(J1975)"),
    ],
)
def test_an_equinox_may_be_text(tmp_path, cards, frame):
    rng = np.random.default_rng(3)
    sky = SkyCoord(rng.uniform(0, 360, 40), rng.uniform(-80, 80, 40), unit="deg")
    name, _, equinox = frame.rstrip(")").partition("(")
    place = SkyCoord(0 * u.deg, 0 * u.deg, frame=name, equinox=equinox)
    there = sky.transform_to(place.frame.replicate_without_data())
    hdu = fits.table_to_hdu(Table({"ra": there.ra.deg, "dec": there.dec.deg}))
    hdu.header.update(cards)
    hdu.writeto(tmp_path / "c.fits")
    table = read_catalog(tmp_path / "c.fits")
    found = SkyCoord(table["ra"].to_numpy(), table["dec"].to_numpy(), unit="deg")
    assert found.separation(sky).arcsec.max() < 1e-4


def test_an_equinox_that_is_none_is_named(tmp_path):
    hdu = fits.table_to_hdu(Table({"ra": [1.0], "dec": [2.0]}))
    hdu.header["EQUINOX"] = "mean"
    hdu.writeto(tmp_path / "c.fits")
    with pytest.raises(CatalogError, match=r"'mean' is no equinox; .* say which by frame=NAME"):
        read_catalog(tmp_path / "c.fits")
