import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.metrics import roc_auc_score

from galaxy_da import index as module
from galaxy_da.errors import CatalogError, LatentIndexError, TableError
from galaxy_da.features import Features
from galaxy_da.index import LatentIndex
from galaxy_da.tables import read_metadata, with_metadata


def build(**surveys):
    """Index of surveys given as dictionaries of object id to embedding."""
    rng = np.random.default_rng(0)
    features = []
    for survey, objects in surveys.items():
        n, width = len(objects), len(next(iter(objects.values())))
        table = {
            "object_id": pa.array(objects, pa.string()),
            "survey": pa.array([survey] * n, pa.string()),
            "ra": rng.uniform(0, 360, n),
            "dec": rng.uniform(-90, 90, n),
            "flags": pa.array(range(n), pa.int32()),
            "embedding": pa.array(list(objects.values()), pa.list_(pa.float32(), width)),
        }
        features.append(Features(table=pa.table(table), space_id="s" * 64, encoders={survey: "e"}))
    return LatentIndex.build(features)


def cloud(n, d=3, seed=0, centre=0.0):
    points = np.random.default_rng(seed).normal(centre, size=(n, d)).astype(np.float32)
    return {f"{seed}-{i}": point for i, point in enumerate(points)}


def pair_table(pairs, **columns):
    n = len(pairs)
    table = {
        "anchor_id": pa.array([a for a, _ in pairs], pa.string()),
        "target_id": pa.array([b for _, b in pairs], pa.string()),
        "separation_arcsec": np.linspace(0, 1, n),
        "n_candidates": pa.array([1] * n, pa.int32()),
        "ambiguous": [False] * n,
    }
    return pa.table({**table, **columns})


def keys(table):
    return [f"{row['survey']}:{row['object_id']}" for row in table.to_pylist()]


def separation(one, other):
    return float(np.linalg.norm(np.subtract(one, other, dtype=float)))


_text = st.text(max_size=5)
_points = st.lists(
    st.one_of(st.integers(-2, 2), st.floats(-50, 50, width=32)), min_size=2, max_size=2
)
_objects = st.dictionaries(_text, _points, min_size=1, max_size=12)


@given(_objects, _objects, st.data())
@settings(max_examples=100, deadline=None)
def test_similar_matches_brute_force(one, other, data):
    index = build(sdss=one, decals=other)
    embedding = {f"sdss:{i}": e for i, e in one.items()}
    embedding |= {f"decals:{i}": e for i, e in other.items()}
    k = data.draw(st.integers(1, 30))
    survey = data.draw(st.sampled_from([None, "sdss", "decals"]))
    query = data.draw(st.one_of(st.sampled_from(sorted(embedding)), _points.map(np.array)))

    answer = index.similar(query, k, survey)

    is_key = isinstance(query, str)
    point = embedding[query] if is_key else query
    allowed = {
        key: separation(e, point)
        for key, e in embedding.items()
        if (survey is None or key.startswith(f"{survey}:")) and not (is_key and key == query)
    }
    found, distances = keys(answer), answer["distance"].to_numpy()
    assert answer["rank"].to_pylist() == list(range(1, min(k, len(allowed)) + 1))
    assert len(set(found)) == len(found)
    assert_allclose(distances, sorted(allowed.values())[:k], rtol=1e-5, atol=1e-6)
    assert_allclose(distances, [allowed[key] for key in found], rtol=1e-5, atol=1e-6)
    assert (np.diff(distances) >= 0).all()
    flags = dict(zip(keys(index.rows), index.rows["flags"].to_pylist(), strict=True))
    assert answer["flags"].to_pylist() == [flags[key] for key in found]


def test_similar_columns():
    index = build(sdss=cloud(5))
    answer = index.similar("sdss:0-1", 2)
    columns = ["rank", "survey", "object_id", "ra", "dec", "distance", "flags"]
    assert answer.column_names == columns
    assert answer.schema.field("distance").type == pa.float32()
    empty = index.similar("sdss:0-1", 9, "sdss").slice(0, 0)
    assert build(sdss=cloud(1)).similar("sdss:0-0").equals(empty)


def test_similar_leaves_itself_out_among_exact_duplicates():
    index = build(sdss={f"{i:03d}": [1, 1] for i in range(100)})
    for name in ("000", "050", "099"):
        found = keys(index.similar(f"sdss:{name}", 20))
        assert len(set(found)) == 20
        assert f"sdss:{name}" not in found


def test_similar_refuses():
    index = build(sdss=cloud(5), decals=cloud(3, seed=1))
    for query in ("sdss:0-1", np.zeros(3)):
        with pytest.raises(ValueError, match="k must be at least 1 but is 0"):
            index.similar(query, 0)
        with pytest.raises(LatentIndexError, match="'hsc' is not in this index"):
            index.similar(query, survey="hsc")
    with pytest.raises(LatentIndexError, match=r"did you mean decals:1-1\?"):
        index.similar("sdss:1-1")
    for vector in (np.zeros(4), np.zeros((3, 3)), np.float64(0)):
        with pytest.raises(ValueError, match=r"shape \(n, 3\)"):
            index.similar(vector)


def with_positions(ra, dec):
    objects = {f"{i:03d}": [i, 0] for i in range(len(ra))}
    index = build(sdss=objects)
    for column, values in (("ra", ra), ("dec", dec)):
        place = index.rows.column_names.index(column)
        index.rows = index.rows.set_column(place, column, pa.array(np.asarray(values, float)))
    return index


def sky_separation(ra, dec, ra0, dec0):
    """Angle between unit vectors [arcsec], by arctan of cross over dot product."""
    one, other = (
        np.stack([np.cos(d) * np.cos(r), np.cos(d) * np.sin(r), np.sin(d)], axis=-1)
        for r, d in (np.radians((ra, dec)), np.radians((ra0, dec0)))
    )
    cross = np.linalg.norm(np.cross(one, other), axis=-1)
    return np.degrees(np.arctan2(cross, one @ other)) * 3600


_ra = st.one_of(st.sampled_from([0.0, 1e-4, 180.0, 359.9999, 360.0]), st.floats(0, 360))
_dec = st.one_of(st.sampled_from([-90.0, 0.0, 89.9999, 90.0]), st.floats(-90, 90))


@given(st.lists(st.tuples(_ra, _dec), min_size=1, max_size=20), _ra, _dec)
@settings(max_examples=100, deadline=None)
def test_at_position_matches_brute_force(places, ra, dec):
    index = with_positions(*zip(*places, strict=True))
    truth = sky_separation(*np.transpose(places), ra, dec)
    key = index.at_position(ra, dec, radius_arcsec=180 * 3600 + 1)
    assert_allclose(truth[index.row(key)], truth.min(), atol=1e-6)


def test_at_position_across_zero_and_near_the_pole():
    index = with_positions([359.9999, 10.0], [0.0, 89.9999])
    assert index.at_position(0.0001, 0.0, 0.73) == "sdss:000"
    assert index.at_position(190.0, 89.9999, 0.73) == "sdss:001"
    with pytest.raises(LatentIndexError, match=r"within 0\.71.*nearest is sdss:000 at 0\.72 arc"):
        index.at_position(0.0001, 0.0, 0.71)
    with pytest.raises(CatalogError, match="position: dec"):
        index.at_position(10.0, 91.0)


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
    assert_allclose(summary["median_same"], np.median(same), rtol=1e-5)
    assert np.mean(random < summary["median_random"] * (1 - 1e-6)) < 0.52
    assert np.mean(random > summary["median_random"] * (1 + 1e-6)) < 0.52
    assert_allclose(summary["ratio"], summary["median_same"] / summary["median_random"])
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
        assert_allclose(read_metadata(answer.schema)["median_random"], expected, rtol=1e-6)
        assert set(answer["percentile"].to_pylist()) <= {0.0, 1.0}


def test_random_pairs_are_drawn_evenly():
    drawn = module._random_pairs((5, 9), (20, 25), np.array([5, 8]), np.array([20, 22]))
    counts = np.zeros((4, 5))
    np.add.at(counts, (drawn[0] - 5, drawn[1] - 20), 1)
    assert counts[0, 0] == counts[3, 2] == 0
    expected = module.RANDOM_PAIRS / 18
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
    assert again.equals(answer, check_metadata=True)


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


@given(_objects, _objects, st.integers(1, 15), st.integers(1, 30), st.booleans())
@settings(max_examples=80, deadline=None)
def test_outliers_match_brute_force(one, other, neighbours, k, whole):
    index = build(decals={**other, "z1": [0, 0], "z2": [0, 0]}, sdss=one)
    survey = None if whole else "decals"
    start, stop = index.span(survey)

    answer = index.outliers(survey, k, neighbours)

    points = index.vectors[start:stop].astype(float)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    nearest = np.sort(apart, axis=1)[:, : min(neighbours, len(points) - 1)]
    scores = nearest.mean(axis=1)
    rows = [index.row(key) - start for key in keys(answer)]
    assert answer.column_names[5:] == ["distance", "outlier_score", "flags"]
    assert len(set(rows)) == len(rows) == min(k, len(points))
    found = answer["outlier_score"].to_numpy()
    assert_allclose(found, np.sort(scores)[::-1][:k], rtol=1e-5, atol=1e-6)
    assert_allclose(found, scores[rows], rtol=1e-5, atol=1e-6)
    assert_allclose(answer["distance"].to_numpy(), nearest[rows, 0], rtol=1e-5, atol=1e-6)


def test_outliers_in_batches_are_the_same(monkeypatch):
    index = build(sdss=cloud(50))
    whole = index.outliers(k=50)
    monkeypatch.setattr(module, "_BATCH", 7)
    assert index.outliers(k=50).equals(whole)


def test_outliers_finds_the_odd_one_and_shows_its_flags():
    index = build(sdss={**cloud(40), "odd": [20, 0, 0]}, decals=cloud(5, seed=1, centre=20))
    first = index.outliers("sdss", k=3).slice(0, 1).to_pylist()[0]
    assert (first["object_id"], first["rank"], first["flags"]) == ("odd", 1, 40)


def test_outliers_refuse():
    index = build(sdss=cloud(5), decals=cloud(1, seed=1))
    with pytest.raises(LatentIndexError, match="decals: has one object only"):
        index.outliers("decals")
    with pytest.raises(LatentIndexError, match="this index: has one object only"):
        build(sdss=cloud(1)).outliers()
    with pytest.raises(LatentIndexError, match="'hsc' is not in this index"):
        index.outliers("hsc")
    for wrong in ({"k": 0}, {"neighbours": 0}):
        with pytest.raises(ValueError, match="must be at least 1"):
            index.outliers(**wrong)
