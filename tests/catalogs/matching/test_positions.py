"""Pairs of positions equal brute force and astropy."""

import itertools
import re

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, angular_separation, match_coordinates_sky
from hypothesis import given, settings
from hypothesis import strategies as st
from match_helpers import MODES, all_sky, make_table, nearby, offset, pair_rows

import catalogs.matching.zones as zones
from catalogs.matching import crossmatch
from galaxy_da.errors import CatalogError
from galaxy_da.io.tables import read_metadata, validate_pairs

CENTRES = [
    (0.0, 0.0),
    (359.9999, 30.0),
    (180.0, -45.0),
    (77.0, 89.9999),
    (0.0, 90.0),
    (12.0, -90.0),
]


def _scatter(rng, n, centre, spread_arcsec):
    """Positions within a spread of a centre, some of them repeated exactly."""
    length = np.radians(spread_arcsec * np.sqrt(rng.uniform(0, 1, n)) / 3600)
    ra, dec = offset(centre, rng.uniform(0, 2 * np.pi, n), length)
    again = np.where(rng.uniform(size=n) < 0.3, rng.integers(0, n, n), np.arange(n))
    return ra[again], dec[again]


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
    tables = make_table(*anchor, "a"), make_table(*target, "t")
    near = separation <= radius
    if not near.any():
        with pytest.raises(CatalogError) as error:
            crossmatch(*tables, radius_arcsec=radius, n_offsets=2)
        nearest = re.search(r"come no closer than (\S+) arcsec", str(error.value))[1]
        assert float(nearest) == pytest.approx(separation.min(), rel=1e-5)
        return
    for mode in MODES:
        pairs = crossmatch(*tables, radius_arcsec=radius, mode=mode, n_offsets=2)
        rows = pair_rows(pairs)
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
    _check_against_brute_force(all_sky(rng, n), all_sky(rng, n), radius=3600.0)


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
        make_table(*sky, prefix, position_error_arcsec=error)
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
    pairs = crossmatch(make_table(ra, dec, "a"), make_table(ra, dec, "t"), mode=mode)
    assert pair_rows(pairs) == [(row, row) for row in range(len(ra))]
    assert not np.any(pairs["separation_arcsec"])


def test_mutual_is_one_to_one_in_a_crowded_field():
    rng = np.random.default_rng(3)
    anchor, target = (_scatter(rng, 2_000, (359.999, -60.0), 20.0) for _ in range(2))
    pairs = crossmatch(make_table(*anchor, "a"), make_table(*target, "t"), radius_arcsec=5.0)
    i, j = np.transpose(pair_rows(pairs))
    assert len(set(i)) == len(i) == len(set(j)) > 500
    assert np.all(np.diff(i) > 0)
    assert np.mean(pairs["n_candidates"]) > 50


@pytest.mark.parametrize("centre", [(359.99, 20.0), (100.0, 89.95)])
def test_pairs_equal_astropy(centre):
    rng = np.random.default_rng(4)
    anchor, target = (_scatter(rng, 20_000, centre, 1500.0) for _ in range(2))
    coordinates = [SkyCoord(*sky, unit="deg") for sky in (anchor, target)]
    tables = make_table(*anchor, "a"), make_table(*target, "t")

    i, j, separation, _ = coordinates[1].search_around_sky(coordinates[0], 5 * u.arcsec)
    pairs = crossmatch(*tables, radius_arcsec=5.0, mode="all")
    order = np.lexsort((j, i))
    assert pair_rows(pairs) == list(zip(i[order], j[order], strict=True))
    np.testing.assert_allclose(
        pairs["separation_arcsec"], separation.arcsec[order], atol=1e-7, rtol=0
    )

    _, separation, _ = match_coordinates_sky(*coordinates)
    pairs = crossmatch(*tables, radius_arcsec=5.0, mode="nearest")
    i, _ = np.transpose(pair_rows(pairs))
    assert i.tolist() == np.flatnonzero(separation.arcsec <= 5).tolist()
    np.testing.assert_allclose(pairs["separation_arcsec"], separation.arcsec[i], atol=1e-7, rtol=0)


@pytest.mark.parametrize("dec", [-89.99, -30.0, 0.0, 60.0, 89.0])
@pytest.mark.parametrize("step_arcsec", [1e-5, 1e-3, 0.5])
def test_separations_are_accurate_when_tiny(dec, step_arcsec):
    anchor = make_table([123.456], [dec], "a")
    target = make_table([123.456], [dec + step_arcsec / 3600], "t")
    pairs = crossmatch(anchor, target)
    assert pairs["separation_arcsec"][0].as_py() == pytest.approx(step_arcsec, abs=1e-9)


def test_radius_is_included():
    anchor, target = make_table([10.0], [0.0], "a"), make_table([10.0], [0.0], "t")
    assert len(crossmatch(anchor, target, radius_arcsec=1e-9)) == 1


@pytest.mark.parametrize("weighted", [False, True])
def test_common_position_is_the_mean_on_the_sphere(weighted):
    rng = np.random.default_rng(14)
    anchor = all_sky(rng, 500)
    skies = (anchor, nearby(rng, 500, anchor, 600))
    errors = rng.uniform(0.01, 1, (2, 500))
    tables = [
        make_table(*sky, prefix, **({"position_error_arcsec": error} if weighted else {}))
        for sky, prefix, error in zip(skies, "at", errors, strict=True)
    ]
    pairs = crossmatch(*tables, radius_arcsec=3600, n_offsets=2)
    rows = np.transpose(pair_rows(pairs))
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


def test_pair_table_keeps_its_contract():
    anchor = make_table([10.0, 20.0], [0.0, 0.0], "a", survey=["decals"] * 2)
    target = make_table([10.0, 10.0, 50.0], [0.0, 0.3 / 3600, 0.0], "t", survey=["sdss"] * 3)
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
    anchor, target = make_table(*sky, "a"), make_table(*sky, "t")
    large = anchor.set_column(0, "object_id", anchor["object_id"].cast(pa.large_string()))
    parts = pa.concat_tables([large.slice(0, 20), large.slice(20)])
    assert crossmatch(parts, target).equals(crossmatch(anchor, target))
