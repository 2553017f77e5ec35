import numpy as np
import pytest

from benchmarks.peers.morphology import measure_morphology


def test_statmorph_measures_a_gaussian_galaxy():
    ramp = np.arange(80) - 39.5
    north, east = ramp[:, None], -ramp[None, :]
    angle = np.radians(30)
    along = north * np.cos(angle) + east * np.sin(angle)
    across = east * np.cos(angle) - north * np.sin(angle)
    galaxy = 100 * np.exp(-0.5 * (along**2 + (across / 0.5) ** 2) / 6**2)
    galaxy += np.random.default_rng(0).normal(0, 0.5, galaxy.shape)
    found = measure_morphology(np.stack([galaxy, np.full_like(galaxy, np.nan)]))
    assert found["half_light_px"][0] == pytest.approx(1.1774 * 6, rel=0.06)
    assert found["ellipticity"][0] == pytest.approx(0.5, abs=0.05)
    assert found["position_angle"][0] == pytest.approx(30, abs=3)
    assert found["mag"][0] == pytest.approx(22.5 - 2.5 * np.log10(np.pi * 6 * 3 * 200), abs=0.05)
    assert np.isnan(found["concentration"][1])
