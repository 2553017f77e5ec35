import json
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from astropy_healpix import HEALPix, lonlat_to_healpix
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.stats import chisquare

from catalogs.splits import (
    FIELD_FRACTIONS,
    FINEST_ORDER,
    PARTS,
    SkySplit,
    _splitmix64,
    choose_split,
    recorded_split,
    sky_split,
)
from galaxy_da.errors import CatalogError


def _all_sky(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def test_splitmix64_gives_its_published_outputs():
    # First outputs of Vigna's splitmix64.c for the states 0 and 1234567.
    states = np.array([0, 1234567], dtype=np.uint64)
    assert _splitmix64(states).tolist() == [16294208416658607535, 6457827717110365317]


@pytest.mark.parametrize("fractions", [(0.5, 0.15, 0.35), (0.8, 0.1, 0.1)])
@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_cells_are_split_by_the_fractions(fractions, seed):
    grid = HEALPix(nside=64, order="nested")
    lon, lat = grid.healpix_to_lonlat(np.arange(grid.npix))
    part = sky_split(lon.deg, lat.deg, seed=seed, fractions=fractions)
    counts = [np.sum(part == name) for name in PARTS]
    assert chisquare(counts, np.multiply(fractions, grid.npix)).pvalue > 1e-4


def test_one_cell_is_one_part():
    ra, dec = _all_sky(200_000)
    part = sky_split(ra, dec, nside=16)
    cell = HEALPix(nside=16, order="nested").lonlat_to_healpix(ra * u.deg, dec * u.deg)
    first = {}
    assert all(first.setdefault(c, p) == p for c, p in zip(cell, part, strict=True))
    assert len(first) == 12 * 16**2


def test_neighbouring_cells_are_independent():
    grid = HEALPix(nside=64, order="nested")
    lon, lat = grid.healpix_to_lonlat(np.arange(grid.npix))
    test = sky_split(lon.deg, lat.deg) == "test"
    assert abs(np.mean(test[1:] & test[:-1]) - 0.35**2) < 5 * np.sqrt(0.35**2 / grid.npix)


def test_part_depends_on_position_alone():
    ra, dec = _all_sky(5_000)
    part = sky_split(ra, dec)
    some = np.random.default_rng(1).permutation(len(ra))[:700]
    assert sky_split(ra[some], dec[some]).tolist() == part[some].tolist()
    assert sky_split(ra[:1], dec[:1]).tolist() == part[:1].tolist()


def test_parts_of_fixed_positions_never_change():
    ra, dec = np.arange(0.0, 360.0, 36.0), np.linspace(-80.0, 80.0, 10)
    letters = "".join(name[:2] for name in sky_split(ra, dec))
    assert letters == "trtrtrtrvavatrtetrtr"


def test_seeds_are_independent_splits():
    ra, dec = _all_sky(100_000)
    same = np.mean(sky_split(ra, dec, seed=0) == sky_split(ra, dec, seed=1))
    assert same == pytest.approx(0.5**2 + 0.15**2 + 0.35**2, abs=0.02)


def test_poles_wrap_and_empty_input():
    part = sky_split(np.array([0.0, 360.0, 10.0, 200.0]), np.array([5.0, 5.0, 90.0, 90.0]))
    assert part[0] == part[1]
    assert part.dtype == np.dtype("<U10")
    assert sky_split(np.empty(0), np.empty(0)).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nside": 48}, "power of two but is 48"),
        ({"seed": -1}, "seed must not be negative but is -1"),
        ({"fractions": (0.5, 0.2, 0.2)}, r"add up to 1 but are \(0.5, 0.2, 0.2\)"),
        ({"fractions": (1.2, -0.1, -0.1)}, "must not be negative"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sky_split(np.zeros(1), np.zeros(1), **arguments)


def test_bad_position_is_named():
    with pytest.raises(CatalogError, match=r"none of 2 rows has a usable position: dec is -95"):
        sky_split(np.zeros(2), np.array([-95.0, np.nan]))


def test_rows_without_a_usable_position_are_in_no_part():
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 360, 500), rng.uniform(-90, 90, 500)
    parts = sky_split(ra, dec)
    bad = np.arange(500) % 50 == 7
    spoilt = np.where(bad, np.nan, ra)
    np.testing.assert_array_equal(sky_split(spoilt, dec), np.where(bad, "", parts))
    assert choose_split(spoilt, dec) == choose_split(ra[~bad], dec[~bad])


def square(arcmin, n, seed=0, middle=(150.0, 2.0)):
    """Draw uniform positions in a square, or on the whole sky if it does not fit."""
    if arcmin > 3000:
        return _all_sky(n, seed)
    east, north = np.random.default_rng(seed).uniform(-0.5, 0.5, (2, n)) * arcmin / 60
    dec = np.clip(middle[1] + north, -89.0, 89.0)
    return (middle[0] + east / np.cos(np.radians(dec))) % 360, dec


def shares(part):
    return np.array([np.mean(part == name) for name in PARTS])


def close_pairs(ra, dec, arcsec):
    """Return pairs of rows by scipy, on a tangent plane."""
    plane = np.stack([(ra - ra[0]) * np.cos(np.radians(dec[0])), dec - dec[0]], axis=1) * 3600
    return cKDTree(plane).query_pairs(arcsec, output_type="ndarray").T


places = st.tuples(st.floats(0, 359), st.floats(-60, 60))


@settings(max_examples=60, deadline=None)
@given(
    log_arcmin=st.floats(np.log10(2), 4),
    n=st.integers(60, 2000),
    seed=st.integers(0, 99),
    middle=places,
)
def test_data_of_any_extent_have_three_parts(log_arcmin, n, seed, middle):
    ra, dec = square(10**log_arcmin, n, seed, middle)
    split = choose_split(ra, dec)
    part = split.part(ra, dec)
    assert 6 <= split.order <= FINEST_ORDER
    if split == SkySplit():
        assert (part == sky_split(ra, dec)).all()
    else:
        assert np.abs(shares(part) - FIELD_FRACTIONS).max() < 0.1
        assert shares(part).min() > 0
    shuffled = np.random.default_rng(seed).permutation(n)
    assert choose_split(ra[shuffled], dec[shuffled]) == split


@settings(max_examples=30, deadline=None)
@given(degrees=st.floats(6, 60), n=st.integers(3, 2000), seed=st.integers(0, 99), middle=places)
def test_wide_surveys_keep_their_split(degrees, n, seed, middle):
    ra, dec = square(60 * degrees, n, seed, middle)
    assert choose_split(ra, dec) == SkySplit()
    assert (SkySplit().part(ra, dec) == sky_split(ra, dec)).all()


@settings(max_examples=30, deadline=None)
@given(arcmin=st.floats(8, 200), middle=places, seed=st.integers(0, 99))
def test_neighbours_in_a_field_stay_together(arcmin, middle, seed):
    """Compare with the mean over seeds of cells of the same order."""
    ra, dec = square(arcmin, 300, seed, middle)
    again = dec + 1.0 / 3600  # a repeat observation
    split = choose_split(ra, dec)
    first, second = close_pairs(ra, dec, 33.0)
    if len(first) >= 20:
        part = split.part(ra, dec)
        others = [replace(split, seed=other).part(ra, dec) for other in range(20)]
        apart = np.mean(part[first] != part[second])
        assert apart <= np.mean([other[first] != other[second] for other in others])
        assert apart < 0.15
    assert np.mean(split.part(ra, dec) == split.part(ra, again)) > 0.97


def test_a_real_deep_field_has_three_parts(data):
    table = Table.read(data / "kids_viking_field" / "galaxies.csv", format="ascii.csv")
    x, y = (np.asarray(table[name]) * 0.339 / 3600 for name in ("x_px", "y_px"))
    lon, lat = HEALPix(nside=64, order="nested").healpix_to_lonlat(17)
    dec = lat.deg + y - y.mean()
    ra = lon.deg - (x - x.mean()) / np.cos(np.radians(dec))
    assert len(set(sky_split(ra, dec))) == 1
    split = choose_split(ra, dec)
    part = split.part(ra, dec)
    assert np.abs(shares(part) - (0.7, 0.15, 0.15)).max() <= 0.02
    first, second = close_pairs(ra, dec, 33.0)
    assert len(first) > 100
    assert np.mean(part[first] != part[second]) < 0.07
    cells = lonlat_to_healpix(ra * u.deg, dec * u.deg, 2**split.order, order="nested")
    assert len(np.unique(cells)) >= 20


def test_a_deep_field_in_a_wide_survey_gets_finer_cells():
    deep, wide = square(15, 3000), square(600, 100)
    ra, dec = (np.concatenate(axis) for axis in zip(deep, wide, strict=True))
    split = choose_split(ra, dec)
    assert split.order > 8
    assert np.abs(shares(split.part(*deep)) - FIELD_FRACTIONS).max() < 0.05


def test_a_known_split_is_preferred_in_its_field_alone():
    ra, dec = square(15, 400)
    known = choose_split(ra, dec)
    some = np.random.default_rng(1).permutation(400)[:200]
    assert choose_split(ra[some], dec[some], [known]) == known
    assert choose_split(ra[some], dec[some]) != known
    assert choose_split(*_all_sky(500), [known]) == SkySplit()
    unbalanced = SkySplit()  # one cell, so one part
    assert choose_split(ra, dec, [unbalanced]) == known


@pytest.mark.parametrize("arcsec", [0.0, 3.0, 40.0, 60.0])
@pytest.mark.parametrize("n", [3, 100])
def test_galaxies_within_an_arcminute_are_refused(arcsec, n):
    ra, dec = square(arcsec / 60, n)
    with pytest.raises(CatalogError, match=rf"the {n} galaxies cannot be split .* within \d+ arc"):
        choose_split(ra, dec)


def test_two_clumps_are_refused():
    ra, dec = np.repeat([10.0, 10.2], 20), np.zeros(40)
    with pytest.raises(CatalogError, match="lie in 2 cells of 52 arcsec, at least 3 are needed"):
        choose_split(ra, dec)


def test_fewer_galaxies_than_parts_take_the_default():
    assert choose_split(np.zeros(2), np.zeros(2)) == choose_split(*np.empty((2, 0))) == SkySplit()


def test_records_hold_the_split_and_old_ones_that_of_wide_surveys():
    split = SkySplit(order=11, seed=4757, fractions=FIELD_FRACTIONS)
    record = json.loads(json.dumps({"split": split.as_record()}))
    assert recorded_split(record) == split
    assert recorded_split({"chosen": "by definition"}) == SkySplit()


def test_parts_of_a_chosen_split_never_change():
    split = SkySplit(order=11, seed=4757, fractions=FIELD_FRACTIONS)
    letters = "".join(name[:2] for name in split.part(180 + np.arange(12) / 30, np.zeros(12)))
    assert letters == "trvatrtrtrtrtrtetrtrtrtr"
