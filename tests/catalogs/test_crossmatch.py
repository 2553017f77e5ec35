import itertools
import re

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, angular_separation, match_coordinates_sky, offset_by
from hypothesis import given, settings
from hypothesis import strategies as st

import catalogs.crossmatch as module
from catalogs.crossmatch import crossmatch
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.tables import read_metadata, validate_pairs

MODES = ("mutual", "nearest", "all")
CENTRES = [
    (0.0, 0.0),
    (359.9999, 30.0),
    (180.0, -45.0),
    (77.0, 89.9999),
    (0.0, 90.0),
    (12.0, -90.0),
]


def _table(ra, dec, prefix, **columns):
    ids = [f"{prefix}{row}" for row in range(len(ra))]
    return pa.table({"object_id": ids, "ra": np.asarray(ra), "dec": np.asarray(dec), **columns})


def _rows(pairs):
    return [(int(pair["anchor_id"][1:]), int(pair["target_id"][1:])) for pair in pairs.to_pylist()]


def _offset(centre, angle, length):
    """Positions [deg] at an angle and length [rad] from others [deg]."""
    ra, dec = offset_by(*np.radians(centre), angle, length)
    return ra.deg % 360, dec.deg


def _scatter(rng, n, centre, spread_arcsec):
    """Positions within a spread of a centre, some of them repeated exactly."""
    length = np.radians(spread_arcsec * np.sqrt(rng.uniform(0, 1, n)) / 3600)
    ra, dec = _offset(centre, rng.uniform(0, 2 * np.pi, n), length)
    again = np.where(rng.uniform(size=n) < 0.3, rng.integers(0, n, n), np.arange(n))
    return ra[again], dec[again]


def _all_sky(rng, n):
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))


def _separations(anchor, target):
    """All separations [arcsec] by Vincenty's formula."""
    (ra1, dec1), (ra2, dec2) = np.radians(anchor), np.radians(target)
    angle = angular_separation(ra1[:, None], dec1[:, None], ra2[None], dec2[None])
    return np.degrees(np.asarray(angle)) * 3600


def _brute_force(separation, radius, mode):
    """Rows of the pairs by their definition, in O(n^2)."""
    near = separation <= radius
    separation = np.where(near, np.round(separation, 8), np.inf)
    pairs = list(zip(*np.nonzero(near), strict=True))
    if mode == "all":
        return pairs
    pairs = [(i, j) for i, j in pairs if separation[i, j] == separation[i].min()]
    if mode == "mutual":
        pairs = [(i, j) for i, j in pairs if separation[i, j] == separation[:, j].min()]
    pairs = [next(group) for _, group in itertools.groupby(pairs, key=lambda pair: pair[0])]
    if mode == "mutual":
        lowest = {}
        for i, j in pairs:
            lowest.setdefault(j, i)
        pairs = [(i, j) for i, j in pairs if lowest[j] == i]
    return pairs


def _check_against_brute_force(anchor, target, radius):
    separation = _separations(anchor, target)
    tables = _table(*anchor, "a"), _table(*target, "t")
    near = separation <= radius
    if not near.any():
        with pytest.raises(CatalogError) as error:
            crossmatch(*tables, radius_arcsec=radius, n_offsets=2)
        nearest = re.search(r"come no closer than (\S+) arcsec", str(error.value))[1]
        assert float(nearest) == pytest.approx(separation.min(), rel=1e-5)
        return
    for mode in MODES:
        pairs = crossmatch(*tables, radius_arcsec=radius, mode=mode, n_offsets=2)
        rows = _rows(pairs)
        assert rows == _brute_force(separation, radius, mode)
        i, j = np.transpose(rows)
        np.testing.assert_allclose(pairs["separation_arcsec"], separation[i, j], atol=1e-8)
        assert pairs["n_candidates"].to_pylist() == near.sum(axis=1)[i].tolist()
        rivals = (near.sum(axis=1)[i] > 1) | (near.sum(axis=0)[j] > 1)
        assert pairs["ambiguous"].to_pylist() == rivals.tolist()


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    centre=st.sampled_from(CENTRES),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    spread=st.sampled_from([0.5, 10.0, 3e3, 2e5]),
    radius=st.sampled_from([0.001, 0.3, 1.0, 7.0, 100.0, 3600.0]),
)
def test_pairs_equal_brute_force(seed, centre, sizes, spread, radius):
    rng = np.random.default_rng(seed)
    anchor, target = (_scatter(rng, n, centre, spread) for n in sizes)
    _check_against_brute_force(anchor, target, radius)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60))
def test_whole_sky_with_large_radius_equals_brute_force(seed, n):
    rng = np.random.default_rng(seed)
    _check_against_brute_force(_all_sky(rng, n), _all_sky(rng, n), radius=3600.0)


@pytest.mark.parametrize("centre", CENTRES)
def test_small_batches_give_the_same_pairs(monkeypatch, centre):
    rng = np.random.default_rng(5)
    anchor, target = (_scatter(rng, 300, centre, 30.0) for _ in range(2))
    monkeypatch.setattr(module, "_CHUNK_ROWS", 7)
    monkeypatch.setattr(module, "_BATCH_CANDIDATES", 11)
    _check_against_brute_force(anchor, target, 3.0)


@pytest.mark.parametrize("mode", MODES)
def test_identical_catalogues_pair_row_by_row(mode):
    sky = _scatter(np.random.default_rng(2), 200, (0.0, 89.0), 1e5)
    ra, dec = np.unique(np.stack(sky), axis=1)
    pairs = crossmatch(_table(ra, dec, "a"), _table(ra, dec, "t"), mode=mode)
    assert _rows(pairs) == [(row, row) for row in range(len(ra))]
    assert not np.any(pairs["separation_arcsec"])


def test_mutual_is_one_to_one_in_a_crowded_field():
    rng = np.random.default_rng(3)
    anchor, target = (_scatter(rng, 2_000, (359.999, -60.0), 20.0) for _ in range(2))
    pairs = crossmatch(_table(*anchor, "a"), _table(*target, "t"), radius_arcsec=5.0)
    i, j = np.transpose(_rows(pairs))
    assert len(set(i)) == len(i) == len(set(j)) > 500
    assert np.all(np.diff(i) > 0)
    assert np.mean(pairs["n_candidates"]) > 50


@pytest.mark.parametrize("centre", [(359.99, 20.0), (100.0, 89.95)])
def test_pairs_equal_astropy(centre):
    rng = np.random.default_rng(4)
    anchor, target = (_scatter(rng, 20_000, centre, 1500.0) for _ in range(2))
    coordinates = [SkyCoord(*sky, unit="deg") for sky in (anchor, target)]
    tables = _table(*anchor, "a"), _table(*target, "t")

    i, j, separation, _ = coordinates[1].search_around_sky(coordinates[0], 5 * u.arcsec)
    pairs = crossmatch(*tables, radius_arcsec=5.0, mode="all")
    order = np.lexsort((j, i))
    assert _rows(pairs) == list(zip(i[order], j[order], strict=True))
    np.testing.assert_allclose(
        pairs["separation_arcsec"], separation.arcsec[order], atol=1e-7, rtol=0
    )

    _, separation, _ = match_coordinates_sky(*coordinates)
    pairs = crossmatch(*tables, radius_arcsec=5.0, mode="nearest")
    i, _ = np.transpose(_rows(pairs))
    assert i.tolist() == np.flatnonzero(separation.arcsec <= 5).tolist()
    np.testing.assert_allclose(pairs["separation_arcsec"], separation.arcsec[i], atol=1e-7, rtol=0)


@pytest.mark.parametrize("dec", [-89.99, -30.0, 0.0, 60.0, 89.0])
@pytest.mark.parametrize("step_arcsec", [1e-5, 1e-3, 0.5])
def test_separations_are_accurate_when_tiny(dec, step_arcsec):
    anchor = _table([123.456], [dec], "a")
    target = _table([123.456], [dec + step_arcsec / 3600], "t")
    pairs = crossmatch(anchor, target)
    assert pairs["separation_arcsec"][0].as_py() == pytest.approx(step_arcsec, abs=1e-9)


def test_radius_is_included():
    anchor, target = _table([10.0], [0.0], "a"), _table([10.0], [0.0], "t")
    assert len(crossmatch(anchor, target, radius_arcsec=1e-9)) == 1


# False matches


def _nearby(rng, n, centre, sigma_arcsec):
    """Positions scattered about others by a Rayleigh law."""
    length = np.radians(rng.rayleigh(sigma_arcsec, n) / 3600)
    return _offset(centre, rng.uniform(0, 2 * np.pi, n), length)


@pytest.mark.parametrize("radius", [300.0, 1200.0, 3600.0])
def test_false_match_rate_of_a_uniform_sky(radius):
    rng = np.random.default_rng(6)
    n = 20_000
    anchor, target = _table(*_all_sky(rng, 5_000), "a"), _table(*_all_sky(rng, n), "t")
    measured = read_metadata(crossmatch(anchor, target, radius_arcsec=radius).schema)
    expected = 1 - np.exp(-n * (1 - np.cos(np.radians(radius / 3600))) / 2)
    error = np.sqrt(expected * (1 - expected) / 100_000)
    assert measured["false_match_rate"] == pytest.approx(expected, abs=5 * error)
    assert measured["false_match_rate_error"] == pytest.approx(error, rel=0.6)


def test_false_match_rate_is_that_of_the_local_density():
    rng = np.random.default_rng(8)
    n, centre = 100_000, (30.0, 60.0)
    radii = np.radians(np.sqrt(rng.uniform(size=n)))
    cluster = _offset(centre, rng.uniform(0, 2 * np.pi, n), radii)
    target = np.concatenate([cluster, _all_sky(rng, 20_000)], axis=1)
    inner = _nearby(rng, 5_000, centre, 900)
    pairs = crossmatch(_table(*inner, "a"), _table(*target, "t"), radius_arcsec=2.0)
    expected = 1 - np.exp(-n * (2 / 3600) ** 2)
    assert read_metadata(pairs.schema)["false_match_rate"] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("radius", [100.0, 1000.0, 3600.0])
def test_expected_false_pairs_agree_with_the_truth(mode, radius):
    rng = np.random.default_rng(7)
    n, n_true = 20_000, 12_000
    anchor = np.stack(_all_sky(rng, n))
    seen = _nearby(rng, n_true, anchor[:, :n_true], 0.3 * radius)
    target = np.concatenate([seen, _all_sky(rng, n - n_true)], axis=1)
    pairs = crossmatch(_table(*anchor, "a"), _table(*target, "t"), radius_arcsec=radius, mode=mode)
    i, j = np.transpose(_rows(pairs))
    n_false = np.sum((i != j) | (i >= n_true))
    measured = read_metadata(pairs.schema)
    expected = measured["expected_false_pairs"]
    assert n_false == pytest.approx(expected, abs=4 * np.sqrt(expected) + 3)
    assert measured["expected_false_share"] == pytest.approx(expected / len(pairs))


def test_seed_repeats_the_measurement_and_leaves_the_pairs_alone():
    rng = np.random.default_rng(9)
    tables = _table(*_all_sky(rng, 3_000), "a"), _table(*_all_sky(rng, 3_000), "t")
    first, again, other = (crossmatch(*tables, radius_arcsec=3000, seed=k) for k in (0, 0, 1))
    assert first.equals(again, check_metadata=True)
    assert first.equals(other)
    assert not first.equals(other, check_metadata=True)


# The table and the refusals


def test_pair_table_keeps_its_contract():
    anchor = _table([10.0, 20.0], [0.0, 0.0], "a", survey=["decals"] * 2)
    target = _table([10.0, 10.0, 50.0], [0.0, 0.3 / 3600, 0.0], "t", survey=["sdss"] * 3)
    pairs = crossmatch(anchor, target, radius_arcsec=2)
    validate_pairs(pairs, "pairs")
    assert pairs.to_pylist() == [
        {
            "anchor_id": "a0",
            "target_id": "t0",
            "separation_arcsec": 0.0,
            "n_candidates": 2,
            "ambiguous": True,
        }
    ]
    metadata = read_metadata(pairs.schema)
    fixed = {"radius_arcsec": 2.0, "mode": "mutual", "n_anchor": 2, "n_target": 3, "n_pairs": 1}
    assert fixed.items() <= metadata.items()
    assert metadata["false_match_rate"] == metadata["expected_false_pairs"] == 0


def test_large_strings_and_slices_are_accepted():
    sky = _scatter(np.random.default_rng(1), 50, (0.0, 0.0), 100.0)
    anchor, target = _table(*sky, "a"), _table(*sky, "t")
    large = anchor.set_column(0, "object_id", anchor["object_id"].cast(pa.large_string()))
    parts = pa.concat_tables([large.slice(0, 20), large.slice(20)])
    assert crossmatch(parts, target).equals(crossmatch(anchor, target))


def test_nothing_in_common_is_explained():
    anchor = _table([359.9, 0.2], [1.0, 2.0], "a")
    target = _table([0.2, 5.0], [2.001, 2.0], "t")
    with pytest.raises(CatalogError) as error:
        crossmatch(anchor, target)
    assert str(error.value) == (
        "no pairs within 1 arcsec: anchor covers RA 359.9000 to 0.2000, Dec 1.0000 to 2.0000, "
        "target covers RA 0.2000 to 5.0000, Dec 2.0000 to 2.0010, and they come no closer than "
        "3.6 arcsec; check the radius, that both are ICRS degrees, and that both cover the same "
        "field"
    )


def test_one_survey_against_itself_is_refused_unless_allowed():
    sky = [10.0, 11.0], [0.0, 0.0]
    anchor, target = (_table(*sky, prefix, survey=["sdss"] * 2) for prefix in "at")
    with pytest.raises(CatalogError, match="both of survey 'sdss'"):
        crossmatch(anchor, target)
    assert len(crossmatch(anchor, target, allow_same_survey=True)) == 2


def test_equal_ids_are_refused_unless_allowed():
    rng = np.random.default_rng(0)
    anchor = _table(*_all_sky(rng, 100), "g", survey=["decals"] * 100)
    target = anchor.set_column(3, "survey", pa.array(["sdss"] * 100))
    with pytest.raises(CatalogError, match="100 of 100 pairs join rows of the same object_id"):
        crossmatch(anchor, target)
    assert len(crossmatch(anchor, target, allow_same_survey=True)) == 100


GOOD = _table([10.0], [0.0], "t")


@pytest.mark.parametrize(
    ("anchor", "error", "message"),
    [
        (GOOD.slice(0, 0), CatalogError, "anchor: has no rows"),
        (GOOD.drop_columns(["dec"]), CatalogError, "anchor: column 'dec' is missing; it has obj"),
        (_table([10.0, 1.0], [0.0, 99.0], "a"), CatalogError, "anchor: dec of row 1 is 99"),
        (_table([np.nan], [0.0], "a"), CatalogError, "anchor: ra of row 0 is nan"),
        (GOOD.set_column(0, "object_id", pa.array([7])), CatalogError, "string .* holds int64"),
        (
            GOOD.set_column(0, "object_id", pa.array([None], pa.string())),
            CatalogError,
            "string for every row but holds string with 1 empty",
        ),
        (pa.concat_tables([GOOD, GOOD]), TableError, r"anchor: .*example t0 \(2 times\)"),
    ],
)
def test_bad_tables_are_refused_in_one_line(anchor, error, message):
    with pytest.raises(error, match=message) as caught:
        crossmatch(anchor, GOOD)
    assert "\n" not in str(caught.value)


def test_the_bad_side_is_named():
    with pytest.raises(CatalogError, match="target: has no rows"):
        crossmatch(GOOD, GOOD.slice(0, 0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"radius_arcsec": 0}, r"radius_arcsec must be in \(0, 3600\] but is 0"),
        ({"radius_arcsec": np.nan}, "but is nan"),
        ({"radius_arcsec": 3601}, "but is 3601"),
        ({"mode": "best"}, "mode must be one of mutual, nearest, all but is 'best'"),
        ({"n_offsets": 1}, "n_offsets must be at least 2 but is 1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        crossmatch(GOOD, GOOD, **arguments)
