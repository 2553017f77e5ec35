import numpy as np
import pytest

from catalogs.simulation.distributions import draw_half_light, draw_neighbours


def drawn(n, r_mag, field_arcsec, seed=0):
    host = {
        "r_mag": np.full(n, r_mag),
        "half_light_arcsec": np.full(n, 3.0),
        "g_minus_r": np.full(n, 0.7),
    }
    return draw_neighbours(host, np.random.default_rng(seed), field_arcsec)


@pytest.mark.parametrize("r_mag", [13.0, 17.0])
def test_wide_fields_have_the_counts_of_the_sky(r_mag):
    n, field = 200, 168.0
    near = drawn(n, r_mag, field)
    star = near["half_light_arcsec"] == 0
    square_degrees = n * (field / 3600) ** 2
    # Galaxies: SDSS counts rise to about 1000 by r 20 (Yasuda et al. 2001, AJ 122, 1104).
    between = ~star & (near["r_mag"] > 18) & (near["r_mag"] < 20)
    assert 10**2.7 < between.sum() / square_degrees < 10**3.2
    assert 1000 < (star & (near["r_mag"] < 20)).sum() / square_degrees < 4000
    bright, faint = (np.histogram(near["r_mag"][star], [16, 18, 20])[0]) / square_degrees
    assert bright < faint


def test_neighbours_are_as_dense_in_any_field():
    narrow, wide = (drawn(2000, 19.0, field) for field in (42.0, 84.0))

    def number(near):
        return (near["r_mag"] < 22).sum() - 0.4 * 2000  # without those that overlap the host

    assert number(wide) == pytest.approx(4 * number(narrow), rel=0.3)
    assert np.abs(wide["east_arcsec"]).max() > 41
    assert np.abs(narrow["east_arcsec"]).max() <= 21


def test_one_patch_in_twenty_has_a_cluster_of_its_colour():
    near = drawn(2000, 17.0, 42.0)
    alike = (near["r_mag"] < 20) & (np.abs(near["g_minus_r"] - 0.7) < 0.15)
    crowded = np.bincount(near["host"][alike], minlength=2000) >= 5
    assert crowded.mean() == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(
    ("r_mag", "radius"), [(11.0, 25.7), (14.0, 9.4), (17.0, 3.5), (21.5, 0.77)]
)
def test_sizes_follow_magnitude(r_mag, radius):
    sizes = draw_half_light(np.full(4000, r_mag), np.random.default_rng(1), 168.0)
    assert np.median(sizes) == pytest.approx(radius, rel=0.05)
    assert sizes.max() <= 40
    assert 0.02 < (sizes < radius / 2.2).mean() < 0.08
