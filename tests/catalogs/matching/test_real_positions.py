"""Crossmatch on the positions of real galaxies: shifted, in another frame, at another epoch."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.time import Time

from catalogs.matching import crossmatch
from catalogs.reading import read_catalog
from galaxy_da.io.tables import read_metadata, write_table


@pytest.fixture(scope="module")
def spirals(data):
    return pq.read_table(data / "sdss_spirals.parquet", columns=["object_id", "ra", "dec"])


def _sky(table):
    return SkyCoord(table["ra"].to_numpy(), table["dec"].to_numpy(), unit="deg")


def _ids(table, prefix):
    return np.char.add(prefix, table["object_id"].to_numpy(zero_copy_only=False).astype(str))


def _share_right(pairs):
    ids = (pairs[name].to_pylist() for name in ("anchor_id", "target_id"))
    return np.mean([a == t.removeprefix("t") for a, t in zip(*ids, strict=True)])


def test_a_shifted_table_is_found_with_its_shift(spirals, tmp_path):
    moved = _sky(spirals).directional_offset_by(30 * u.deg, 1.5 * u.arcsec)
    Table({"id": _ids(spirals, "t"), "RA": moved.ra.deg, "DEC": moved.dec.deg}).write(
        tmp_path / "moved.fits"
    )
    write_table(spirals, tmp_path / "spirals.parquet")
    anchor = read_catalog(tmp_path / "spirals.parquet")
    pairs = crossmatch(anchor, read_catalog(tmp_path / "moved.fits"), radius_arcsec=3.0)
    assert len(pairs) == len(spirals)
    assert _share_right(pairs) == 1
    np.testing.assert_allclose(pairs["separation_arcsec"], 1.5, atol=1e-6)
    measured = read_metadata(pairs.schema)
    assert measured["offset_east_arcsec"] == pytest.approx(0.75, abs=1e-4)
    assert measured["offset_north_arcsec"] == pytest.approx(1.5 * np.cos(np.pi / 6), abs=1e-4)
    assert "1.5 arcsec from their anchors at position angle 30 deg" in measured["notes"][0]


@pytest.mark.parametrize("frame", ["galactic", "fk5", "fk4", "barycentricmeanecliptic"])
def test_a_table_in_another_frame_and_epoch_is_matched(spirals, tmp_path, frame):
    sky = _sky(spirals)
    rng = np.random.default_rng(0)
    motion = rng.normal(0, 200, (2, len(sky))) * u.mas / u.yr
    old = SkyCoord(sky.ra, sky.dec, pm_ra_cosdec=motion[0], pm_dec=motion[1], obstime=Time("J2000"))
    with pytest.warns(match="distance overridden"):
        now = old.apply_space_motion(Time("J2016"))
    Table(
        {
            "id": _ids(spirals, "t"),
            "ra": now.ra.deg,
            "dec": now.dec.deg,
            "pmra": motion[0],
            "pmdec": motion[1],
            "ref_epoch": np.full(len(sky), 2016.0),
        }
    ).write(tmp_path / "now.fits")
    there = sky.transform_to(frame).spherical
    name = frame.replace("barycentricmean", "")
    Table(
        {"id": spirals["object_id"].to_pylist(), "ra": there.lon.deg, "dec": there.lat.deg}
    ).write(tmp_path / "there.fits")
    anchor = read_catalog(tmp_path / "there.fits", frame=name)
    pairs = crossmatch(anchor, read_catalog(tmp_path / "now.fits", epoch=2000.0))
    assert len(pairs) == len(spirals)
    assert _share_right(pairs) == 1
    assert np.max(pairs["separation_arcsec"]) < 0.01

    unmoved = crossmatch(anchor, read_catalog(tmp_path / "now.fits"))
    assert len(unmoved) < 0.1 * len(spirals)
