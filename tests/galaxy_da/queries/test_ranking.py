import time

import numpy as np
import pyarrow as pa
import pytest
from index_helpers import make
from numpy.testing import assert_allclose
from query_helpers import build, cloud, keys

from galaxy_da.errors import LatentIndexError, TableError
from galaxy_da.index import Subset
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.ranking import trained_scores


def scores_of(given, survey="sdss"):
    return pa.table(
        {
            "survey": pa.array([survey] * len(given), pa.string()),
            "object_id": pa.array(list(given), pa.string()),
            "score": pa.array(list(given.values()), pa.float64()),
        }
    )


def two_groups():
    """A hundred ordinary galaxies, and two groups of ten with equal outlier scores."""
    rng = np.random.default_rng(0)
    centres = np.repeat([[0, 0, 0], [9, 0, 0], [0, 9, 0]], [100, 10, 10], axis=0)
    points = (centres + rng.normal(size=(120, 3))).astype(np.float32)
    return build(sdss={f"{i:03d}": point for i, point in enumerate(points)})


def test_a_few_scores_move_the_wanted_group_to_the_top():
    index = two_groups()
    before = index.outliers(k=120, method="knn")["object_id"].to_pylist()
    wanted, other = ({f"{i:03d}" for i in span} for span in (range(100, 110), range(110, 120)))
    assert len(wanted & set(before[:20])) > 3
    assert len(other & set(before[:20])) > 3
    ranked = index.rank(scores_of({"100": 5, "101": 5, "110": 0, "111": 0}), method="knn")
    after = ranked["object_id"].to_pylist()
    mean = [np.mean([after.index(i) for i in group]) for group in (wanted, other)]
    assert mean[0] < 12
    assert mean[1] > 2 * mean[0]
    given = dict(zip(after, ranked["score"].to_pylist(), strict=True))
    assert {key: value for key, value in given.items() if value is not None} == {
        "100": 5,
        "101": 5,
        "110": 0,
        "111": 0,
    }


def test_trained_scores_match_the_published_formula():
    rng = np.random.default_rng(0)
    points, outlier = rng.normal(size=(50, 2)), rng.uniform(1, 2, 50)
    points[49] = 1e3
    predicted, trained = trained_scores(points, outlier, points[:2], np.array([0.0, 0.0]))
    assert_allclose(predicted, 0)
    assert_allclose(trained[0], 0.1 * outlier[0], rtol=1e-6)  # distance 0, smallest predicted score
    assert_allclose(trained[49], outlier[49], rtol=1e-6)  # far away, only the outlier score counts
    distance = np.linalg.norm(points[:, None] - points[:2], axis=-1).min(1)
    expected = outlier * np.tanh(np.exp(distance / distance.mean()) - 1 + np.arctanh(0.1))
    assert_allclose(trained, expected, rtol=1e-6)
    _, wanted = trained_scores(points, outlier, points[:2], np.array([5.0, 5.0]))
    assert_allclose(wanted, outlier)


def test_start_replaces_the_outlier_scores():
    index, scores = two_groups(), scores_of({"100": 5, "003": 1})
    first = index.rank(scores, method="lof")
    assert index.rank(scores, start=first) == first
    some = index.outliers(k=30, method="lof")
    assert set(keys(index.rank(scores, start=some))) == set(keys(some))
    assert len(index.rank(scores, method="lof", within=Subset(where="flags < 50"))) == 50


def test_hundred_thousand_galaxies_are_ranked_within_seconds():
    rng = np.random.default_rng(0)
    index = LatentIndex.build([make("sdss", list(rng.normal(size=(100_000, 28)).astype("f4")))])
    start = index.rows.select(["survey", "object_id"])
    start = start.append_column("outlier_score", pa.array(rng.uniform(size=100_000)))
    scores = scores_of({f"id {i}": float(i % 6) for i in range(50)})
    before = time.process_time()
    index.rank(scores, start=start)
    assert time.process_time() - before < 5


def test_rank_refuses():
    index = build(sdss=cloud(20))
    with pytest.raises(TableError, match="scores: column 'score' is missing; it has survey, obj"):
        index.rank(scores_of({"0-1": 1}).drop_columns("score"), method="knn")
    for wrong in (-1, 5.1, None, np.nan):
        with pytest.raises(TableError, match="score must be 0 to 5 in every row"):
            index.rank(scores_of({"0-1": wrong}), method="knn")
    with pytest.raises(TableError, match="sdss:0-1 comes more than once"):
        index.rank(pa.concat_tables([scores_of({"0-1": 1})] * 2), method="knn")
    with pytest.raises(LatentIndexError, match="none of the 1 scored galaxies"):
        index.rank(scores_of({"x": 1}), method="knn")
    gone = pa.table({"survey": ["sdss"], "object_id": ["x"], "outlier_score": [1.0]})
    with pytest.raises(LatentIndexError, match="1 of the 1 objects of the earlier ranking"):
        index.rank(scores_of({"0-1": 1}), start=gone)
    with pytest.raises(ValueError, match="but is 'disagreement'"):
        index.rank(scores_of({"0-1": 1}), method="disagreement")
