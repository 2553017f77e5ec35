import numpy as np
import pytest
from astropy import units as u
from astropy_healpix import HEALPix
from scipy.stats import chisquare

from catalogs.splits import PARTS, _splitmix64, sky_split
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
    with pytest.raises(CatalogError, match=r"dec of row 1 is 95"):
        sky_split(np.zeros(2), np.array([0.0, 95.0]))
