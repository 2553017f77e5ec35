import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from query_helpers import build, cloud, pair_table, separation
from sklearn.metrics import roc_auc_score

from galaxy_da.errors import LatentIndexError, TableError
from galaxy_da.io.tables import read_metadata, with_metadata
from galaxy_da.queries.distances import RANDOM_PAIRS, random_pairs


@given(st.integers(2, 25), st.integers(2, 25), st.integers(0, 2**31), st.data())
@settings(max_examples=40, deadline=None)
def test_distances_match_brute_force(n_anchors, n_targets, seed, data):
    anchors, targets = cloud(n_anchors, seed=seed), cloud(n_targets, seed=seed + 1, centre=0.5)
    index = build(decals=anchors, sdss=targets)
    some = st.tuples(
        st.sampled_from([*anchors, "gone", None]), st.sampled_from([*targets, "gone", None])
    )
    listed = [(next(iter(anchors)), next(iter(targets)))]
    listed += data.draw(st.lists(some, max_size=n_anchors * n_targets // 2))

    answer = index.distances(pair_table(listed), anchor="decals", target="sdss")

    known = [a in anchors and b in targets for a, b in listed]
    same = [
        separation(anchors[a], targets[b]) for (a, b), ok in zip(listed, known, strict=True) if ok
    ]
    random = np.array(
        [
            separation(anchors[a], targets[b])
            for a in anchors
            for b in targets
            if (a, b) not in listed
        ]
    )
    distance, percentile = (answer[name].to_pylist() for name in ("distance", "percentile"))
    assert [value is not None for value in distance] == known
    assert [value is not None for value in percentile] == known
    assert_allclose([value for value in distance if value is not None], same, rtol=1e-5)
    # shares of 20,000 draws, five standard errors
    closer = [(random < value * (1 - 1e-6)).mean() for value in same]
    assert_allclose([v for v in percentile if v is not None], closer, atol=0.018)
    summary = read_metadata(answer.schema)
    truth = [1] * len(random) + [0] * len(same)
    assert_allclose(summary["auc"], roc_auc_score(truth, [*random, *same]), atol=0.018)
    assert_allclose(summary["median_pair_distance"], np.median(same), rtol=1e-5)
    assert np.mean(random < summary["median_random_distance"] * (1 - 1e-6)) < 0.52
    assert np.mean(random > summary["median_random_distance"] * (1 + 1e-6)) < 0.52
    assert_allclose(
        summary["ratio"], summary["median_pair_distance"] / summary["median_random_distance"]
    )
    assert summary["n_pairs"] == len(listed)
    assert summary["n_missing"] == known.count(False)


def test_random_pairs_are_never_listed_pairs():
    """Eight of nine combinations are pairs, so every random pair is the ninth."""
    anchors = {name: [i, 0] for i, name in enumerate("abc")}
    targets = {name: [10 * i, 5] for i, name in enumerate("xyz")}
    for left in [(a, b) for a in "abc" for b in "xyz"]:
        listed = [(a, b) for a in "abc" for b in "xyz" if (a, b) != left]
        answer = build(decals=anchors, sdss=targets).distances(
            pair_table(listed), anchor="decals", target="sdss"
        )
        expected = separation(anchors[left[0]], targets[left[1]])
        assert_allclose(read_metadata(answer.schema)["median_random_distance"], expected, rtol=1e-6)
        assert set(answer["percentile"].to_pylist()) <= {0.0, 1.0}


def test_random_pairs_are_drawn_evenly():
    drawn = random_pairs((5, 9), (20, 25), np.array([5, 8]), np.array([20, 22]))
    counts = np.zeros((4, 5))
    np.add.at(counts, (drawn[0] - 5, drawn[1] - 20), 1)
    assert counts[0, 0] == counts[3, 2] == 0
    expected = RANDOM_PAIRS / 18
    assert (np.abs(counts[counts > 0] - expected) < 5 * np.sqrt(expected)).all()
    assert (counts > 0).sum() == 18


def test_distances_keep_the_pairs_and_repeat_exactly():
    index = build(decals=cloud(9), sdss=cloud(9, seed=1))
    pairs = pair_table([("0-3", "1-3"), ("0-4", "gone")], note=["x", "y"])
    pairs = with_metadata(pairs, {"radius_arcsec": 1.0})
    answer = index.distances(pairs, anchor="decals", target="sdss")
    assert answer.column_names == [*pairs.column_names, "distance", "percentile"]
    assert answer.select(pairs.column_names).equals(pairs)
    assert answer.schema.field("distance").type == pa.float32()
    assert read_metadata(answer.schema)["radius_arcsec"] == 1.0
    again = index.distances(answer, anchor="decals", target="sdss")
    assert again.equals(answer.table, check_metadata=True)


def test_identical_embeddings_have_no_ratio():
    index = build(decals={"a": [1, 1], "b": [1, 1]}, sdss={"a": [1, 1], "b": [1, 1]})
    answer = index.distances(pair_table([("a", "a")]), anchor="decals", target="sdss")
    summary = read_metadata(answer.schema)
    assert (summary["ratio"], summary["auc"]) == (None, 0.5)
    assert answer["percentile"].to_pylist() == [0.0]


def test_distances_refuse():
    index = build(decals={"a": [0, 0]}, sdss={"x": [1, 1], "y": [2, 2]})
    pairs = pair_table([("a", "x"), ("a", "y")])
    with pytest.raises(LatentIndexError, match="'hsc' is not in this index; it has decals, sdss"):
        index.distances(pairs, anchor="decals", target="hsc")
    with pytest.raises(LatentIndexError, match=r"none of the 2 pairs.*right order"):
        index.distances(pairs, anchor="sdss", target="decals")
    with pytest.raises(LatentIndexError, match="none of the 0 pairs"):
        index.distances(pairs.slice(0, 0), anchor="decals", target="sdss")
    with pytest.raises(LatentIndexError, match="all 2 combinations"):
        index.distances(pairs, anchor="decals", target="sdss")
    with pytest.raises(ValueError, match="must be two surveys but both are 'sdss'"):
        index.distances(pairs, anchor="sdss", target="sdss")
    with pytest.raises(TableError, match="'ambiguous' is missing"):
        index.distances(pairs.drop_columns("ambiguous"), anchor="decals", target="sdss")
