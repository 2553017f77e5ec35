import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_helpers import make, random_vectors
from numpy.testing import assert_allclose
from query_helpers import build, cloud, keys, objects
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from galaxy_da.errors import LatentIndexError
from galaxy_da.index import Subset
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries import neighbours as module
from galaxy_da.queries.neighbours import local_outlier_factor, nearest_others, whitened
from galaxy_da.queries.outliers import METHODS, OutlierMethod


@given(objects, objects, st.integers(1, 15), st.integers(1, 30), st.booleans())
@settings(max_examples=80, deadline=None)
def test_knn_matches_brute_force(one, other, neighbours, k, whole):
    index = build(decals={**other, "z1": [0, 0], "z2": [0, 0]}, sdss=one)
    survey = None if whole else "decals"
    start, stop = index.span(survey)

    answer = index.outliers(survey, k, OutlierMethod(name="knn", neighbours=neighbours))

    points = index.vectors[start:stop].astype(float)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    scores = np.sort(apart, axis=1)[:, : min(neighbours, len(points) - 1)].mean(axis=1)
    rows = [index.row(key) - start for key in keys(answer)]
    assert answer.column_names[5:] == ["outlier_score", "flags"]
    assert len(set(rows)) == len(rows) == min(k, len(points))
    found = answer["outlier_score"].to_numpy()
    assert_allclose(found, np.sort(scores)[::-1][:k], rtol=1e-5, atol=1e-6)
    assert_allclose(found, scores[rows], rtol=1e-5, atol=1e-6)


def test_every_method_finds_an_outlier_in_the_selection():
    rng = np.random.default_rng(0)
    vectors = random_vectors(300, 4)
    vectors[7] = 12
    error = rng.uniform(1, 2, 300).astype(np.float32)
    error[7] = 40
    features = make("sdss", list(vectors), kind=["a"] * 250 + ["b"] * 50)
    place = features.table.column_names.index("reconstruction_error")
    table = features.table.set_column(place, "reconstruction_error", [error])
    index = LatentIndex.build([type(features)(table=table, space_id="s", encoders={"sdss": "e"})])
    for method in set(METHODS) - {"disagreement"}:
        assert keys(index.outliers("sdss", 1, method)) == ["sdss:id 7"], method
        assert "sdss:id 7" not in keys(
            index.outliers("sdss", 300, method, within=Subset(where="kind = b"))
        )
        assert len(index.outliers("sdss", 300, method, within=Subset(where="kind = b"))) == 50


def test_lof_is_sklearns_of_whitened_latents():
    points = random_vectors(200, 5) * [1, 2, 3, 4, 50]
    mine = local_outlier_factor(whitened(points), 20)
    peer = LocalOutlierFactor(20).fit(whitened(points))
    assert_allclose(mine, -peer.negative_outlier_factor_, rtol=1e-4)
    index = build(sdss={str(i): point for i, point in enumerate(points)})
    answer = index.outliers(k=200, method="lof")
    assert_allclose(answer["outlier_score"], np.sort(mine)[::-1], rtol=1e-4)


def test_forest_is_sklearns():
    index = build(sdss=cloud(150))
    peer = IsolationForest(n_estimators=200, random_state=0).fit(index.vectors[:])
    answer = index.outliers(k=150, method="forest")
    expected = np.sort(-peer.score_samples(index.vectors[:]))[::-1]
    assert_allclose(answer["outlier_score"], expected, rtol=1e-6)


def test_reconstruction_is_over_the_survey_median_and_combined_takes_the_higher_rank():
    one, other = (random_vectors(40, 3, seed) for seed in (1, 2))
    features = []
    for survey, vectors, scale in (("a", one, 1), ("b", other, 100)):
        made = make(survey, list(vectors))
        place = made.table.column_names.index("reconstruction_error")
        error = scale * np.linspace(1, 3, 40, dtype=np.float32)
        table = made.table.set_column(place, "reconstruction_error", [error])
        features.append(type(made)(table=table, space_id="s", encoders={survey: "e"}))
    index = LatentIndex.build(features)
    scores = {
        method: dict(zip(keys(table), table["outlier_score"].to_pylist(), strict=True))
        for method in ("lof", "reconstruction", "combined")
        for table in [index.outliers(k=80, method=method)]
    }
    assert_allclose(scores["reconstruction"]["a:id 3"], scores["reconstruction"]["b:id 3"])
    assert_allclose(scores["reconstruction"]["b:id 39"], 3 / 2)
    for key, value in scores["combined"].items():
        ranks = [
            np.mean([other <= scores[name][key] for other in scores[name].values()])
            for name in ("lof", "reconstruction")
        ]
        assert_allclose(value, max(ranks), err_msg=key)


def test_whitened_has_unit_covariance_except_in_thin_directions():
    points = np.random.default_rng(0).normal(size=(4000, 3)) @ np.diag([1.0, 3.0, 1e-6])
    got = np.cov(whitened(points, points[:2000]).T)
    thin, *wide = np.sort(np.diag(got))
    assert_allclose(wide, 1, atol=0.15)
    assert thin < 1e-6
    assert_allclose(got[~np.eye(3, dtype=bool)], 0, atol=0.1)
    assert np.isfinite(whitened(np.ones((5, 3)))).all()


@given(st.integers(2, 30), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_nearest_others_match_brute_force(n, count, seed):
    points = np.random.default_rng(seed).integers(-2, 3, (n, 2)).astype(np.float32)
    distances, rows = nearest_others(points, count)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    expected = np.sort(apart, axis=1)[:, : min(count, n - 1)]
    assert_allclose(distances, expected, atol=1e-6)
    assert not (rows == np.arange(n)[:, None]).any()
    assert_allclose(np.take_along_axis(apart, rows, 1), distances, atol=1e-6)


def test_many_points_are_searched_by_cells(monkeypatch):
    points = random_vectors(3000, 6)
    exact, _ = nearest_others(points, 10)
    monkeypatch.setattr(module, "_EXACT_ROWS", 1000)
    near, _ = nearest_others(points, 10)
    assert np.mean(np.isclose(near, exact, rtol=1e-4)) > 0.9


def test_clean_excludes_flagged_images_but_not_substituted_bands():
    index = build(sdss=cloud(40))  # flags 0 to 39
    for method in ("knn", "lof", "forest"):
        assert set(index.outliers(k=40, method=method)["flags"].to_pylist()) == set(range(40))
        assert set(
            index.outliers(k=40, method=method, within=Subset(clean=True))["flags"].to_pylist()
        ) == {0, 16}


def test_outliers_refuse():
    index = build(sdss=cloud(5), decals=cloud(1, seed=1))
    with pytest.raises(LatentIndexError, match="one object only"):
        index.outliers("decals", method="knn")
    with pytest.raises(LatentIndexError, match="'hsc' is not in this index"):
        index.outliers("hsc")
    with pytest.raises(LatentIndexError, match="lacks reconstruction errors; extract without --no"):
        index.outliers()
    with pytest.raises(LatentIndexError, match="no variances"):
        index.outliers(method="disagreement")
    with pytest.raises(ValueError, match=r"one of combined, knn, .* but is 'odd'"):
        index.outliers(method="odd")
    with pytest.raises(ValueError, match="k must be at least 1 but is 0"):
        index.outliers(k=0)
    with pytest.raises(ValueError, match="neighbours must be at least 1 but is 0"):
        OutlierMethod(neighbours=0)
