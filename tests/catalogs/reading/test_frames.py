import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from catalogs.reading.frames import FRAMES, frame_named, to_epoch, to_icrs


def _sky(n=50):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("ICRS", "icrs"),
        ("galactic", "galactic"),
        ("eq_FK5", "fk5"),
        ("fk5 J1975", "fk5(J1975)"),
        ("FK5 1975.0", "fk5(J1975)"),
        ("fk4", "fk4"),
        ("eq_FK4 B1950.0", "fk4"),
        ("FK4 1950", "fk4"),
        ("ecl_FK5", "barycentricmeanecliptic"),
        ("supergalactic", "supergalactic"),
    ],
)
def test_frames_agree_with_the_inverse_transform(name, frame):
    ra, dec = _sky()
    frame, _, equinox = frame.rstrip(")").partition("(")
    options = {"equinox": equinox} if equinox else {}
    there = SkyCoord(ra, dec, unit="deg").transform_to(
        SkyCoord(0 * u.deg, 0 * u.deg, frame=frame, **options).frame.replicate_without_data()
    )
    back = to_icrs(there.spherical.lon.deg, there.spherical.lat.deg, name)
    missed = SkyCoord(*back, unit="deg").separation(SkyCoord(ra, dec, unit="deg"))
    assert missed.arcsec.max() < 1e-4


def test_galactic_centre_has_the_position_of_the_iau():
    ra, dec = to_icrs(np.zeros(1), np.zeros(1), "galactic")
    np.testing.assert_allclose([ra[0], dec[0]], [266.40499, -28.93617], atol=1e-4)


@pytest.mark.parametrize("name", ["fk6", "icrs J2000", "fk5 whenever", ""])
def test_an_unknown_frame_is_refused(name):
    with pytest.raises(ValueError, match=f"frame '{name}'") as error:
        frame_named(name)
    assert "\n" not in str(error.value)
    assert None not in map(frame_named, FRAMES)


def test_motion_in_icrs_follows_the_great_circle():
    ra, dec = _sky()
    rng = np.random.default_rng(1)
    pm = rng.uniform(-2000, 2000, (2, len(ra)))
    start = rng.uniform(1990, 2020, len(ra))
    moved = to_epoch((ra, dec), pm, "icrs", start, 2016.0)
    path = np.hypot(*pm) / 3.6e6 * (2016 - start)
    expected = SkyCoord(ra, dec, unit="deg").directional_offset_by(
        np.arctan2(*pm) * u.rad, path * u.deg
    )
    missed = SkyCoord(*moved, unit="deg").separation(expected).arcsec
    assert missed.max() < 1e-3
    assert np.abs(path).max() * 3600 > 10


@pytest.mark.parametrize("frame", ["galactic", "fk5"])
def test_motion_in_another_frame_equals_that_in_icrs(frame):
    ra, dec = _sky()
    pm = np.random.default_rng(1).uniform(-2000, 2000, (2, len(ra))) * u.mas / u.yr
    icrs = SkyCoord(ra, dec, unit="deg", pm_ra_cosdec=pm[0], pm_dec=pm[1], obstime=Time("J2000"))
    there = icrs.transform_to(frame)
    start = np.full(len(ra), 2000.0)
    got = to_epoch(
        (there.spherical.lon.deg, there.spherical.lat.deg),
        there.proper_motion.to_value(u.mas / u.yr),
        frame,
        start,
        2016.0,
    )
    expected = to_epoch((ra, dec), pm.value, "icrs", start, 2016.0)
    missed = SkyCoord(*got, unit="deg").separation(SkyCoord(*expected, unit="deg"))
    assert missed.arcsec.max() < 1e-3


def test_positions_without_motion_stay():
    ra, dec = _sky()
    still = np.full(len(ra), np.nan)
    start = np.full(len(ra), 2000.0)
    moved = to_epoch((ra, dec), (still, still), "icrs", start, 2016.0)
    np.testing.assert_allclose(moved, (ra, dec), atol=1e-9)
