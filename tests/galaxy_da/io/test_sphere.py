import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, angular_separation
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from galaxy_da.io.sphere import chord, chord_to_arcsec, separation_arcsec, unit_vectors

angles = st.floats(0, 360), st.floats(-90, 90)


def test_unit_vectors_match_astropy():
    ra, dec = np.array([0.0, 10.0, 359.9]), np.array([-90.0, 45.0, 0.1])
    expected = SkyCoord(ra, dec, unit="deg").cartesian.xyz.value.T
    assert_allclose(unit_vectors(ra, dec), expected, atol=1e-15)


@given(*angles, *angles)
def test_separations_match_astropy(ra1, dec1, ra2, dec2):
    expected = np.degrees(angular_separation(*np.radians([ra1, dec1, ra2, dec2]))) * 3600
    assert_allclose(separation_arcsec(ra1, dec1, ra2, dec2), expected, rtol=1e-9, atol=0.01)


def test_small_separations_are_exact():
    centre = SkyCoord(200 * u.deg, 60 * u.deg)
    near = centre.directional_offset_by(30 * u.deg, [1e-4, 1, 100] * u.arcsec)
    found = separation_arcsec(200.0, 60.0, near.ra.deg, near.dec.deg)
    assert_allclose(found, [1e-4, 1, 100], rtol=1e-9, atol=1e-9)
    vectors = unit_vectors(np.append(near.ra.deg, 200.0), np.append(near.dec.deg, 60.0))
    by_chord = chord_to_arcsec(np.linalg.norm(vectors[:-1] - vectors[-1], axis=1))
    assert_allclose(by_chord, [1e-4, 1, 100], rtol=1e-9, atol=1e-7)


@given(st.floats(0, 648_000))
def test_chords_are_inverted(arcsec):
    assert_allclose(chord_to_arcsec(np.array(chord(arcsec))), arcsec, rtol=1e-9, atol=0.01)


@pytest.mark.parametrize("arcsec", [-1, 648_001, np.nan])
def test_chord_rejects_impossible_angles(arcsec):
    with pytest.raises(ValueError, match="radius must be 0 to 648000 arcsec"):
        chord(arcsec)
