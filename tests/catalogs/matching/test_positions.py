import itertools
import re

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, angular_separation, match_coordinates_sky, offset_by
from hypothesis import given, settings
from hypothesis import strategies as st

import catalogs.matching.zones as zones
from catalogs.matching import crossmatch
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.tables import read_metadata, validate_pairs, with_metadata

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
    positions = {"ra": np.asarray(ra), "dec": np.asarray(dec)}
    return pa.table({"object_id": pa.array(ids, pa.string()), **positions, **columns})


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


def _brute_force(separation, near, mode):
    """Rows of the pairs by their definition, in O(n^2)."""
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


def _brute_join(pairs, sizes, how):
    """Pairs, and None beside rows without one, in anchor then target order."""
    rows = {i: [(k, j) for k, j in pairs if k == i] for i in range(sizes[0])}
    alone = [] if how == "inner" else [(None, None)]
    joined = [row for i in rows for row in (rows[i] or [(i, None) for _ in alone])]
    if how == "outer":
        joined += [(None, j) for j in range(sizes[1]) if j not in {j for _, j in pairs}]
    return joined


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
        assert rows == _brute_force(separation, near, mode)
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


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    centre=st.sampled_from(CENTRES),
    sizes=st.tuples(st.integers(0, 15), st.integers(0, 15)),
    mode=st.sampled_from(MODES),
    how=st.sampled_from(["left", "outer"]),
    least=st.sampled_from([0.0, 1.5]),
    sigmas=st.sampled_from([None, 2.0]),
)
def test_every_join_and_limit_equals_brute_force(seed, centre, sizes, mode, how, least, sigmas):
    rng = np.random.default_rng(seed)
    anchor, target = (_scatter(rng, n, centre, 5.0) for n in sizes)
    errors = [rng.uniform(0.2, 3, n) for n in sizes]
    separation = _separations(anchor, target)
    near = (separation <= 4) & (separation >= least)
    if sigmas is not None:
        near &= separation <= sigmas * np.hypot(errors[0][:, None], errors[1])
    tables = [
        _table(*sky, prefix, position_error_arcsec=error)
        for sky, prefix, error in zip((anchor, target), "at", errors, strict=True)
    ]
    pairs = crossmatch(
        *tables,
        radius_arcsec=4,
        min_radius_arcsec=least,
        sigmas=sigmas,
        mode=mode,
        how=how,
        n_offsets=2,
    )
    expected = _brute_join(_brute_force(separation, near, mode), sizes, how)
    assert [
        (None if a is None else int(a[1:]), None if t is None else int(t[1:]))
        for a, t in zip(pairs["anchor_id"].to_pylist(), pairs["target_id"].to_pylist(), strict=True)
    ] == expected
    for row, (i, j) in zip(pairs.to_pylist(), expected, strict=True):
        assert row["n_candidates"] == (None if i is None else near[i].sum())
        if i is None or j is None:
            alone = anchor if j is None else target
            number = i if j is None else j
            assert (row["ra"], row["dec"]) == (alone[0][number], alone[1][number])
            assert row["separation_arcsec"] is row["ambiguous"] is None


@pytest.mark.parametrize("centre", CENTRES)
def test_small_batches_give_the_same_pairs(monkeypatch, centre):
    rng = np.random.default_rng(5)
    anchor, target = (_scatter(rng, 300, centre, 30.0) for _ in range(2))
    monkeypatch.setattr(zones, "_CHUNK_ROWS", 7)
    monkeypatch.setattr(zones, "_BATCH_CANDIDATES", 11)
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


@pytest.mark.parametrize("weighted", [False, True])
def test_common_position_is_the_mean_on_the_sphere(weighted):
    rng = np.random.default_rng(14)
    anchor = _all_sky(rng, 500)
    skies = (anchor, _nearby(rng, 500, anchor, 600))
    errors = rng.uniform(0.01, 1, (2, 500))
    tables = [
        _table(*sky, prefix, **({"position_error_arcsec": error} if weighted else {}))
        for sky, prefix, error in zip(skies, "at", errors, strict=True)
    ]
    pairs = crossmatch(*tables, radius_arcsec=3600, n_offsets=2)
    rows = np.transpose(_rows(pairs))
    first, second = (
        SkyCoord(*np.array(sky)[:, row], unit="deg") for sky, row in zip(skies, rows, strict=True)
    )
    variances = [error[row] ** 2 for error, row in zip(errors, rows, strict=True)]
    share = variances[0] / sum(variances) if weighted else 0.5
    expected = first.directional_offset_by(
        first.position_angle(second), first.separation(second) * share
    )
    common = SkyCoord(pairs["ra"].to_numpy(), pairs["dec"].to_numpy(), unit="deg")
    assert len(pairs) > 400
    assert common.separation(expected).arcsec.max() < 0.02


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


def test_false_match_rate_follows_the_local_density():
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


@pytest.mark.parametrize("mode", MODES)
def test_false_matches_of_a_clustered_sky_agree_with_the_truth(mode):
    rng = np.random.default_rng(21)
    anchor, target, identity = _clustered_sky(rng)
    pairs = crossmatch(_table(*anchor, "a"), _table(*target, "t"), radius_arcsec=2.0, mode=mode)
    measured = read_metadata(pairs.schema)

    i, j = np.transpose(_rows(pairs))
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
            _offset(where, rng.uniform(0, 2 * np.pi, len(size)), size),
            _scatter_uniform(rng, n_field),
        ],
        axis=1,
    )
    identity = [np.flatnonzero(rng.uniform(size=sky.shape[1]) < 0.8) for _ in range(2)]
    anchor, target = (_nearby(rng, len(seen), sky[:, seen], 0.2) for seen in identity)
    return anchor, target, identity


def _scatter_uniform(rng, n):
    """Positions over twelve degrees across RA 0 at high declination."""
    sines = np.sin(np.radians([50.0, 56.0]))
    ra, dec = rng.uniform(-6, 6, n) % 360, np.degrees(np.arcsin(rng.uniform(*sines, n)))
    return np.stack([ra, dec])


def test_false_matches_follow_position_errors_and_the_smallest_radius():
    rng = np.random.default_rng(22)
    n = 20_000
    anchor, target = _all_sky(rng, 5_000), _all_sky(rng, n)
    error = np.full(5_000, 300.0)
    error[:2_500] = 100.0
    pairs = crossmatch(
        _table(*anchor, "a", position_error_arcsec=error),
        _table(*target, "t"),
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
            "ra": 10.0,
            "dec": 0.0,
        }
    ]
    metadata = read_metadata(pairs.schema)
    fixed = {"radius_arcsec": 2.0, "mode": "mutual", "n_anchor": 2, "n_target": 3, "n_pairs": 1}
    fixed |= {"n_anchor_unmatched": 1, "n_target_unmatched": 2}
    assert fixed.items() <= metadata.items()
    assert metadata["false_match_rate"] == metadata["expected_false_pairs"] == 0


def test_large_strings_and_slices_are_accepted():
    sky = _scatter(np.random.default_rng(1), 50, (0.0, 0.0), 100.0)
    anchor, target = _table(*sky, "a"), _table(*sky, "t")
    large = anchor.set_column(0, "object_id", anchor["object_id"].cast(pa.large_string()))
    parts = pa.concat_tables([large.slice(0, 20), large.slice(20)])
    assert crossmatch(parts, target).equals(crossmatch(anchor, target))


def test_a_match_without_pairs_is_explained():
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


def test_one_survey_is_refused_by_its_headers():
    rng = np.random.default_rng(0)
    sky = _all_sky(rng, 10)
    tables = [
        with_metadata(
            _table(*sky, prefix, survey=[name] * 10), {"catalog": {"surveys": ["DECaLS DR8-south"]}}
        )
        for prefix, name in (("a", "decals"), ("t", "bass"))
    ]
    with pytest.raises(CatalogError, match="both of survey 'DECaLS DR8-south' by their headers"):
        crossmatch(*tables)
    assert len(crossmatch(*tables, allow_same_survey=True)) == 10


@pytest.mark.parametrize(
    ("shift", "jitter", "radius", "note"),
    [
        (
            (3.0, 4.0),
            0.1,
            10.0,
            r"lie (5|4\.9\d|5\.0\d) arcsec from .* angle 37 deg, with a scatter",
        ),
        ((0.0, 0.0), 0.0, 1.0, "300 of 300 pairs have one position on both sides: the lists are"),
        ((0.0, 0.0), 6.0, 12.0, "pairs keep a distance: half are more than 8 arcsec"),
        ((0.05, 0.05), 0.2, 2.0, None),
    ],
)
def test_the_offset_of_the_sides_is_measured_and_noted(shift, jitter, radius, note):
    rng = np.random.default_rng(1)
    ra, dec = _all_sky(rng, 300)
    length = np.radians((8 if jitter == 6 else rng.rayleigh(jitter, 300)) / 3600)
    angle = rng.uniform(0, 2 * np.pi, 300)
    seen = _offset((ra, dec), angle, length)
    seen = _offset(seen, np.arctan2(*shift), np.radians(np.hypot(*shift) / 3600))
    pairs = crossmatch(_table(ra, dec, "a"), _table(*seen, "t"), radius_arcsec=radius)
    measured = read_metadata(pairs.schema)
    if jitter < 1:
        assert measured["offset_east_arcsec"] == pytest.approx(shift[0], abs=0.05)
        assert measured["offset_north_arcsec"] == pytest.approx(shift[1], abs=0.05)
        assert measured["offset_scatter_arcsec"] == pytest.approx(jitter, rel=0.2)
    assert len(measured["notes"]) == (note is not None)
    assert note is None or re.search(note, measured["notes"][0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: (c.ra.hour, c.dec.deg), "100 of 100 target rows .* ra were hours"),
        (lambda c: (c.dec.deg % 360, c.ra.deg), "target rows .* its ra and dec were swapped"),
        (lambda c: (c.ra.rad, c.dec.rad), "target rows .* positions were radians"),
        (lambda c: (c.galactic.l.deg, c.galactic.b.deg), "target rows .*frame=galactic"),
        (
            lambda c: (c.barycentricmeanecliptic.lon.deg, c.barycentricmeanecliptic.lat.deg),
            "target rows .*frame=ecliptic",
        ),
        (lambda c: (c.fk4.ra.deg, c.fk4.dec.deg), "target rows .* B1950"),
    ],
)
def test_wrong_units_frames_and_columns_are_recognised(spoil, message):
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(40, 60, 100), rng.uniform(20, 40, 100)
    spoilt = _table(*spoil(SkyCoord(ra, dec, unit="deg")), "t")
    with pytest.raises(CatalogError, match=message) as error:
        crossmatch(_table(ra, dec, "a"), spoilt)
    assert "\n" not in str(error.value)


GOOD = _table([10.0], [0.0], "t")


@pytest.mark.parametrize(
    ("anchor", "error", "message"),
    [
        (GOOD.slice(0, 0), CatalogError, "anchor: has no rows"),
        (GOOD.drop_columns(["dec"]), CatalogError, "anchor: column 'dec' is missing; it has obj"),
        (_table([10.0, 1.0], [-91, 999], "a"), CatalogError, "anchor: none of 2 .*: dec is -91"),
        (_table([np.nan], [0.0], "a"), CatalogError, "anchor: none of 1 rows .*: ra is nan"),
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
        ({"how": "right"}, "how must be one of inner, left, outer but is 'right'"),
        ({"min_radius_arcsec": 1.0}, r"min_radius_arcsec must be in \[0, 1\), below the radius"),
        ({"sigmas": 0}, "sigmas must be positive but is 0"),
        ({"n_offsets": 1}, "n_offsets must be at least 2 but is 1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        crossmatch(GOOD, GOOD, **arguments)


def test_sigmas_need_errors_that_are_numbers():
    with pytest.raises(CatalogError, match="sigmas needs a column 'position_error_arcsec'"):
        crossmatch(GOOD, GOOD, sigmas=3, allow_same_survey=True)
    bad = _table([10.0], [0.0], "a", position_error_arcsec=[-99.0])
    with pytest.raises(
        CatalogError, match=r"anchor: position_error_arcsec of row 0 is -99; .* all"
    ):
        crossmatch(bad, GOOD, sigmas=3)


def test_rows_without_a_usable_position_or_error_match_nothing():
    ra = np.array([10.0, np.nan, 20.0, 400.0, 30.0, 40.0])
    dec = np.array([0.0, 0.0, -95.0, 0.0, 1.0, np.inf])
    errors = [0.1, 0.1, 0.1, 0.1, -99.0, 0.1]
    anchor = _table(ra, dec, "a", position_error_arcsec=errors)
    target = _table([10.0, 30.0, np.nan], [0.0, 1.0, np.nan], "t")
    pairs = crossmatch(anchor, target, how="outer")
    found = zip(pairs["anchor_id"].to_pylist(), pairs["target_id"].to_pylist(), strict=True)
    assert list(found) == [
        ("a0", "t0"), ("a1", None), ("a2", None), ("a3", None), ("a4", "t1"), ("a5", None),
        (None, "t2"),
    ]  # fmt: skip
    counts = read_metadata(pairs.schema)
    assert counts["n_anchor_without_position"] == 4 and counts["n_target_without_position"] == 1
    assert counts["n_anchor_unmatched"] == 4 and counts["n_pairs"] == 2
    assert crossmatch(anchor, target, sigmas=5)["anchor_id"].to_pylist() == ["a0"]
