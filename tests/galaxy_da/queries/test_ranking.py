import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from index_helpers import make
from numpy.testing import assert_allclose
from query_helpers import build, cloud, keys
from scipy.optimize import minimize

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


def strange_ids(index):
    found = index.outliers(k=len(index))
    return found.filter(pc.equal(found["ranking"], "strange galaxy"))["object_id"].to_pylist()


def two_groups():
    """A hundred ordinary galaxies, and two groups of ten with equal outlier scores."""
    rng = np.random.default_rng(0)
    centres = np.repeat([[0, 0, 0], [9, 0, 0], [0, 9, 0]], [100, 10, 10], axis=0)
    points = (centres + rng.normal(size=(120, 3))).astype(np.float32)
    return build(sdss={f"{i:03d}": point for i, point in enumerate(points)})


def test_a_few_scores_move_the_wanted_group_to_the_top():
    index = two_groups()
    before = strange_ids(index)
    wanted, other = ({f"{i:03d}" for i in span} for span in (range(100, 110), range(110, 120)))
    assert len(wanted & set(before[:20])) > 3
    assert len(other & set(before[:20])) > 3
    ranked = index.rank(scores_of({"100": 5, "101": 5, "110": 0, "111": 0}))
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


def test_trained_scores_are_those_of_a_weighted_logistic_regression():
    rng = np.random.default_rng(0)
    points, outlier = rng.normal(size=(50, 2)), rng.uniform(0.5, 2, 50)
    score = np.array([5.0, 0.0, 1.0, 3.0])
    predicted, trained = trained_scores(points, outlier, points[:4], score)

    wanted = np.clip(score / 5, 0.02, 0.98)
    positive, negative = wanted / wanted.sum(), (1 - wanted) / (1 - wanted).sum()

    def loss(parameters):
        eta = points[:4] @ parameters[:2] + parameters[2]
        fit = positive @ np.logaddexp(0, -eta) + negative @ np.logaddexp(0, eta)
        return 2 * fit + parameters[:2] @ parameters[:2] / 2 / 0.1

    best = minimize(loss, np.zeros(3), tol=1e-10).x
    log_odds = points @ best[:2] + best[2]
    assert_allclose(predicted, 5 / (1 + np.exp(-log_odds)), atol=0.01)
    assert_allclose(trained, 1 / (1 + np.exp(-log_odds) / np.sqrt(outlier)), atol=0.002)


@pytest.mark.parametrize("given", [0.0, 5.0])
def test_equal_scores_leave_the_order_of_the_outlier_score(given):
    rng = np.random.default_rng(0)
    points, outlier = rng.normal(size=(50, 2)), rng.uniform(0.5, 2, 50)
    _, trained = trained_scores(points, outlier, points[:6], np.full(6, given))
    assert (np.argsort(trained) == np.argsort(outlier)).all()


def test_start_replaces_the_outlier_scores():
    index, scores = two_groups(), scores_of({"100": 5, "003": 1})
    first = index.rank(scores)
    assert index.rank(scores, start=first) == first
    some = index.outliers(k=30)
    assert keys(index.rank(scores, start=some)) == keys(index.rank(scores, start=some.slice(0, 30)))
    assert len(index.rank(scores, within=Subset(where="flags < 50"))) == 50


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
        index.rank(scores_of({"0-1": 1}).drop_columns("score"))
    for wrong in (-1, 5.1, None, np.nan):
        with pytest.raises(TableError, match="score must be 0 to 5 in every row"):
            index.rank(scores_of({"0-1": wrong}))
    with pytest.raises(TableError, match="sdss:0-1 comes more than once"):
        index.rank(pa.concat_tables([scores_of({"0-1": 1})] * 2))
    with pytest.raises(LatentIndexError, match="none of the 1 scored galaxies"):
        index.rank(scores_of({"x": 1}))
    gone = pa.table({"survey": ["sdss"], "object_id": ["x"], "outlier_score": [1.0]})
    with pytest.raises(LatentIndexError, match="1 of the 1 objects of the earlier ranking"):
        index.rank(scores_of({"0-1": 1}), start=gone)
