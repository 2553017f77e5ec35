import numpy as np
import pytest
from numpy.testing import assert_allclose

from evaluation.retrieval import match_ranks, retrieve


def test_ranks_by_sorting():
    rng = np.random.default_rng(0)
    queries, pool = rng.normal(size=(2, 50, 3))
    expected = []
    for i, q in enumerate(queries):
        order = np.argsort(np.linalg.norm(pool - q, axis=1))
        expected.append(int(np.where(order == i)[0][0]) + 1)
    assert match_ranks(queries, pool).tolist() == expected


def test_a_collapsed_space_scores_nothing():
    flat = np.ones((40, 5))
    result = retrieve(flat, flat)
    assert result.recall_at_1 == 0 and result.median_rank == 40


def test_perfect_and_chance():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(400, 8))
    perfect = retrieve(points, points)
    assert perfect.recall_at_1 == perfect.auc == 1 and perfect.distance_ratio == 0
    chance = retrieve(points, rng.normal(size=(400, 8)))
    assert chance.recall_at_10 < 0.08
    assert chance.distance_ratio == pytest.approx(1, abs=0.05)
    assert chance.auc == pytest.approx(0.5, abs=0.06)


def test_auc_by_counting():
    rng = np.random.default_rng(2)
    queries = rng.normal(size=(30, 2))
    pool = queries + rng.normal(0, 0.7, size=(30, 2))
    result = retrieve(queries, pool, seed=3)
    draw = np.random.default_rng(3)
    draw.binomial(30, result.recall_at_1, 1000)
    other = (np.arange(30) + draw.integers(1, 30, 30)) % 30
    same = np.linalg.norm(queries - pool, axis=1)
    random = np.linalg.norm(queries - pool[other], axis=1)
    assert_allclose(result.auc, (random[:, None] > same[None]).mean(), rtol=1e-12)
    assert result.recall_at_1_low <= result.recall_at_1 <= result.recall_at_1_high


def test_refuses_what_does_not_pair():
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(4, 2\)"):
        retrieve(np.zeros((3, 2)), np.zeros((4, 2)))
