import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_helpers import make
from numpy.testing import assert_allclose
from query_helpers import build, cloud, keys

from galaxy_da.errors import LatentIndexError
from galaxy_da.index import Subset
from galaxy_da.io.sphere import chord_to_arcsec
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.sky import counterparts, directions

RADIUS = 2.0


def three_surveys(n=60, seed=0):
    """Two surveys of the same places, up to 3 arcsec off, and one elsewhere."""
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(359.99, 360.01, n) % 360, rng.uniform(-0.01, 0.01, n)
    latents = rng.normal(size=(n, 3)).astype(np.float32)
    made = []
    for survey, shift in (("a", 0), ("b", 3), ("c", 40000)):
        moved = rng.uniform(-shift, shift, (2, n)) / 3600
        made.append(
            make(
                survey,
                list(latents + rng.normal(0, 0.3, (n, 3)).astype(np.float32)),
                ra=(ra + moved[0]) % 360,
                dec=dec + moved[1],
                encoder=survey,
            )
        )
    return LatentIndex.build(made)


@given(st.integers(0, 59), st.integers(0, 20), st.integers(0, 59))
@settings(max_examples=40, deadline=None)
def test_same_matches_brute_force(number, seed, least):
    index = three_surveys(seed=seed)
    key = f"a:id {number}"
    own = index.row(key)
    found = index.same(key, RADIUS, within=Subset(where=f"flags >= {least}"))

    sky = directions(index, np.arange(len(index)))
    apart = np.degrees(2 * np.arcsin(np.linalg.norm(sky - sky[own], axis=1) / 2)) * 3600
    rows = index.rows.to_pylist()
    close = [
        row
        for row in np.argsort(apart)
        if apart[row] <= RADIUS and rows[row]["survey"] != "a" and rows[row]["flags"] >= least
    ]
    assert keys(found) == [index.key(row) for row in close]
    assert_allclose(found["separation_arcsec"], apart[close], atol=1e-5)
    distance = np.linalg.norm(index.vectors[close] - index.vectors[own], axis=1)
    assert_allclose(found["distance"], distance, rtol=1e-5)
    if len(found):
        first, second, _ = counterparts(index, np.arange(60), np.arange(60, 120), RADIUS)
        known = np.linalg.norm(index.vectors[first] - index.vectors[second], axis=1)
        for share, value in zip(found["percentile_same"].to_pylist(), distance, strict=True):
            assert_allclose(share, np.mean(known < value), atol=1 / len(known))
        every = np.linalg.norm(index.vectors[:60][:, None] - index.vectors[60:120], axis=-1)
        for share, value in zip(found["percentile_random"].to_pylist(), distance, strict=True):
            assert abs(share - np.mean(every < value)) < 0.05


@given(st.integers(0, 100), st.floats(0, 10))
@settings(max_examples=40, deadline=None)
def test_counterparts_are_mutual_nearest_neighbours(seed, radius):
    index = three_surveys(20, seed)
    first, second, separation = counterparts(index, np.arange(20), np.arange(20, 40), radius)
    sky = directions(index, np.arange(40))
    apart = chord_to_arcsec(np.linalg.norm(sky[:20, None] - sky[20:], axis=-1))
    expected = [
        (i, j + 20)
        for i, j in enumerate(apart.argmin(1))
        if apart[:, j].argmin() == i and apart[i, j] <= radius
    ]
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected
    assert_allclose(separation, [apart[i, j - 20] for i, j in expected], atol=1e-6)


def test_no_counterpart_gives_no_row_and_no_comparison_gives_null():
    index = LatentIndex.build(
        [make(name, [[0, 1]], ra=[10.0], dec=[5.0], encoder=name) for name in ("a", "b")]
    )
    found = index.same("a:id 0")
    assert keys(found) == ["b:id 0"]
    assert found["percentile_random"].to_pylist() == [None]
    alone = build(sdss=cloud(4), decals=cloud(4, seed=1)).same("sdss:0-1", 0.0)
    assert len(alone) == 0
    assert alone.column_names == found.column_names


def test_same_refuses():
    index = three_surveys()
    with pytest.raises(LatentIndexError, match="no object 'a:x'"):
        index.same("a:x")
    with pytest.raises(ValueError, match="radius must be finite and not negative but is -1"):
        index.same("a:id 1", -1)
