import numpy as np
import pytest
from numpy.testing import assert_allclose

from evaluation.retrieval import contrast, match_ranks, recall_of, retrieve


def test_ranks_by_sorting():
    rng = np.random.default_rng(0)
    queries, pool = rng.normal(size=(2, 50, 3))
    expected = []
    for i, q in enumerate(queries):
        order = np.argsort(np.linalg.norm(pool - q, axis=1))
        expected.append(int(np.where(order == i)[0][0]) + 1)
    assert match_ranks(queries, pool).tolist() == expected


def test_a_collapsed_space_has_zero_recall():
    flat = np.ones((40, 5))
    result = retrieve(flat, flat)
    assert result.recall_at_1 == 0 and result.median_rank == 40


def test_a_pool_may_hold_more_galaxies_in_any_order():
    rng = np.random.default_rng(4)
    queries, pool = rng.normal(size=(20, 3)), rng.normal(size=(90, 3))
    own = rng.permutation(90)[:20]
    distance = np.linalg.norm(queries[:, None] - pool, axis=2)
    expected = (distance <= distance[np.arange(20), own][:, None]).sum(1)
    assert match_ranks(queries, pool, own).tolist() == expected.tolist()
    first = np.concatenate([pool[own], np.delete(pool, own, 0)])
    assert match_ranks(queries, first).tolist() == expected.tolist()
    assert retrieve(queries, first).pool == 90


def test_ranks_survive_an_offset_and_small_numbers():
    rng = np.random.default_rng(5)
    queries, pool = rng.normal(size=(2, 60, 4)).astype(np.float32)
    plain = match_ranks(queries, pool)
    moved = match_ranks(queries * 1e-3 + 7.0, pool * 1e-3 + 7.0)
    assert (plain == moved).mean() > 0.95


def test_a_whole_collapsed_pool_is_tied():
    point = np.random.default_rng(6).normal(size=(1, 40)).astype(np.float32)
    assert (match_ranks(point.repeat(1200, 0), point.repeat(5000, 0)) == 5000).all()


def test_recall_and_its_intervals():
    rng = np.random.default_rng(7)
    ranks = np.where(rng.random(2000) < 0.6, 1, rng.integers(2, 100, 2000))
    result = recall_of(ranks, 100)
    assert result.queries == 2000 and result.pool == 100
    assert result.recall_at_1 == (ranks == 1).mean()
    assert result.recall_at_10 == (ranks <= 10).mean()
    assert_allclose(result.mean_reciprocal_rank, np.mean(1 / ranks))
    half = 1.96 * np.sqrt(result.recall_at_1 * (1 - result.recall_at_1) / 2000)
    width = result.recall_at_1_high - result.recall_at_1_low
    assert_allclose(width, 2 * half, rtol=0.1)
    error = 1.96 * np.std(1 / ranks) / np.sqrt(2000)
    width = result.mean_reciprocal_rank_high - result.mean_reciprocal_rank_low
    assert_allclose(width, 2 * error, rtol=0.1)
    assert result.median_rank_low <= result.median_rank == 1 <= result.median_rank_high


def test_contrast_by_counting():
    rng = np.random.default_rng(8)
    same, other = rng.random(30), rng.random(50) + 0.3
    ratio, auc = contrast(same, other)
    assert_allclose(ratio, np.median(same) / np.median(other))
    assert_allclose(auc, (other[:, None] > same[None]).mean())


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
    other = (np.arange(30) + np.random.default_rng(3).integers(1, 30, 30)) % 30
    same = np.linalg.norm(queries - pool, axis=1)
    random = np.linalg.norm(queries - pool[other], axis=1)
    assert_allclose(result.auc, (random[:, None] > same[None]).mean(), rtol=1e-12)
    assert result.recall_at_1_low <= result.recall_at_1 <= result.recall_at_1_high


def test_shapes_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 2\) and \(3, 2\)"):
        retrieve(np.zeros((4, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"\(5, 2\) and \(5, 3\)"):
        match_ranks(np.zeros((5, 2)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="at least one query"):
        recall_of(np.zeros(0, int), 10)
