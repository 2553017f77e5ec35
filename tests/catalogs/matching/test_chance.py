"""Rates of false matches agree with the truth."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord, match_coordinates_sky
from match_helpers import MODES, all_sky, make_table, nearby, offset, pair_rows

from catalogs.matching import crossmatch
from galaxy_da.io.tables import read_metadata


@pytest.mark.parametrize("radius", [300.0, 1200.0, 3600.0])
def test_false_match_rate_of_a_uniform_sky(radius):
    rng = np.random.default_rng(6)
    n = 20_000
    anchor, target = make_table(*all_sky(rng, 5_000), "a"), make_table(*all_sky(rng, n), "t")
    measured = read_metadata(crossmatch(anchor, target, radius_arcsec=radius).schema)
    expected = 1 - np.exp(-n * (1 - np.cos(np.radians(radius / 3600))) / 2)
    error = np.sqrt(expected * (1 - expected) / 100_000)
    assert measured["false_match_rate"] == pytest.approx(expected, abs=5 * error)
    assert measured["false_match_rate_error"] == pytest.approx(error, rel=0.6)


def test_false_match_rate_follows_the_local_density():
    rng = np.random.default_rng(8)
    n, centre = 100_000, (30.0, 60.0)
    radii = np.radians(np.sqrt(rng.uniform(size=n)))
    cluster = offset(centre, rng.uniform(0, 2 * np.pi, n), radii)
    target = np.concatenate([cluster, all_sky(rng, 20_000)], axis=1)
    inner = nearby(rng, 5_000, centre, 900)
    pairs = crossmatch(make_table(*inner, "a"), make_table(*target, "t"), radius_arcsec=2.0)
    expected = 1 - np.exp(-n * (2 / 3600) ** 2)
    assert read_metadata(pairs.schema)["false_match_rate"] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("radius", [100.0, 1000.0, 3600.0])
def test_expected_false_pairs_agree_with_the_truth(mode, radius):
    rng = np.random.default_rng(7)
    n, n_true = 20_000, 12_000
    anchor = np.stack(all_sky(rng, n))
    seen = nearby(rng, n_true, anchor[:, :n_true], 0.3 * radius)
    target = np.concatenate([seen, all_sky(rng, n - n_true)], axis=1)
    pairs = crossmatch(
        make_table(*anchor, "a"), make_table(*target, "t"), radius_arcsec=radius, mode=mode
    )
    i, j = np.transpose(pair_rows(pairs))
    n_false = np.sum((i != j) | (i >= n_true))
    measured = read_metadata(pairs.schema)
    expected = measured["expected_false_pairs"]
    assert n_false == pytest.approx(expected, abs=4 * np.sqrt(expected) + 3)
    assert measured["expected_false_share"] == pytest.approx(expected / len(pairs))


@pytest.mark.parametrize("mode", MODES)
def test_false_matches_of_a_clustered_sky_agree_with_the_truth(mode):
    rng = np.random.default_rng(21)
    anchor, target, identity = _clustered_sky(rng)
    pairs = crossmatch(
        make_table(*anchor, "a"), make_table(*target, "t"), radius_arcsec=2.0, mode=mode
    )
    measured = read_metadata(pairs.schema)

    i, j = np.transpose(pair_rows(pairs))
    n_false = np.sum(identity[0][i] != identity[1][j])
    expected = measured["expected_false_pairs"]
    n_trials = 5_000 * 20
    error = np.sqrt(expected + expected**2 / max(expected * n_trials / len(anchor[0]), 1))
    assert n_false == pytest.approx(expected, abs=4 * error)

    alone = ~np.isin(identity[0], identity[1])
    nearest = match_coordinates_sky(
        *(SkyCoord(*sky, unit="deg") for sky in (np.array(anchor)[:, alone], target))
    )[1]
    observed = np.mean(nearest.arcsec <= 2)
    error = np.hypot(np.sqrt(observed / alone.sum()), measured["false_match_rate_error"])
    assert measured["false_match_rate"] == pytest.approx(observed, abs=4 * error)

    by_density = measured["false_match_by_density"]
    density = np.array([part["targets_per_arcmin2"] for part in by_density])
    rates = np.array([part["false_match_rate"] for part in by_density])
    errors = np.array([part["false_match_rate_error"] for part in by_density])
    assert density[-1] > 10 * density[0]
    poisson = 1 - np.exp(-np.pi * (2 / 60) ** 2 * density)
    assert np.all(np.abs(rates - poisson) < 4 * errors + 0.25 * poisson)
    assert np.mean(rates) == pytest.approx(measured["false_match_rate"], rel=0.01)


def _clustered_sky(rng):
    """Two surveys of one sky of clusters and field; each misses a fifth of the galaxies."""
    n_clusters, members, n_field = 150, 600, 30_000
    middle = _scatter_uniform(rng, n_clusters)
    size = np.radians(rng.rayleigh(400, n_clusters * members) / 3600)
    where = [np.repeat(axis, members) for axis in middle]
    sky = np.concatenate(
        [
            offset(where, rng.uniform(0, 2 * np.pi, len(size)), size),
            _scatter_uniform(rng, n_field),
        ],
        axis=1,
    )
    identity = [np.flatnonzero(rng.uniform(size=sky.shape[1]) < 0.8) for _ in range(2)]
    anchor, target = (nearby(rng, len(seen), sky[:, seen], 0.2) for seen in identity)
    return anchor, target, identity


def _scatter_uniform(rng, n):
    """Positions over twelve degrees across RA 0 at high declination."""
    sines = np.sin(np.radians([50.0, 56.0]))
    ra, dec = rng.uniform(-6, 6, n) % 360, np.degrees(np.arcsin(rng.uniform(*sines, n)))
    return np.stack([ra, dec])


def test_false_matches_follow_position_errors_and_the_smallest_radius():
    rng = np.random.default_rng(22)
    n = 20_000
    anchor, target = all_sky(rng, 5_000), all_sky(rng, n)
    error = np.full(5_000, 300.0)
    error[:2_500] = 100.0
    pairs = crossmatch(
        make_table(*anchor, "a", position_error_arcsec=error),
        make_table(*target, "t"),
        radius_arcsec=1000,
        min_radius_arcsec=200,
        sigmas=3,
    )
    area = [2 * np.pi * (1 - np.cos(np.radians(r / 3600))) for r in (200, 300, 900)]
    expected = np.mean([1 - np.exp(-n * (r - area[0]) / (4 * np.pi)) for r in area[1:]])
    measured = read_metadata(pairs.schema)["false_match_rate"]
    assert measured == pytest.approx(expected, abs=5 * np.sqrt(expected / 100_000))


def test_seed_repeats_the_measurement_and_leaves_the_pairs_alone():
    rng = np.random.default_rng(9)
    tables = make_table(*all_sky(rng, 3_000), "a"), make_table(*all_sky(rng, 3_000), "t")
    first, again, other = (crossmatch(*tables, radius_arcsec=3000, seed=k) for k in (0, 0, 1))
    assert first.equals(again, check_metadata=True)
    assert first.equals(other)
    assert not first.equals(other, check_metadata=True)
