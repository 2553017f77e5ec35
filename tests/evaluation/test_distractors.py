import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from evaluation.distractors import distance_contrast, matched_distractors, ranks_among
from evaluation.retrieval import match_ranks


def test_distractors_are_nearest_in_standard_deviations():
    rng = np.random.default_rng(0)
    properties = rng.normal(size=(60, 3)) * [1, 100, 0.01]
    own = rng.permutation(60)[:25]
    found = matched_distractors(properties, own, 7)
    scaled = (properties - properties.mean(0)) / properties.std(0)
    for row, others in zip(own, found, strict=True):
        order = np.argsort(np.linalg.norm(scaled - scaled[row], axis=1))
        assert others.tolist() == order[1:8].tolist()


@given(st.integers(0, 50), st.integers(1, 11))
def test_distractors_never_include_the_query(seed, k):
    rng = np.random.default_rng(seed)
    properties = rng.integers(0, 2, size=(12, 2)).astype(float)
    own = np.arange(12)
    found = matched_distractors(properties, own, k)
    assert found.shape == (12, k) and (found != own[:, None]).all()
    assert all(len(set(row)) == k for row in found)


def test_all_others_as_distractors_give_plain_retrieval():
    rng = np.random.default_rng(1)
    queries, pool = rng.normal(size=(2, 40, 5))
    own = rng.permutation(40)
    everyone = np.stack([np.delete(np.arange(40), row) for row in own])
    assert (ranks_among(queries, pool, own, everyone) == match_ranks(queries, pool, own)).all()


def test_hard_distractors_are_harder_if_latents_are_properties():
    rng = np.random.default_rng(2)
    properties = rng.normal(size=(2000, 3))
    own = np.arange(500)
    queries = properties[own] + rng.normal(0, 0.2, (500, 3))
    hard = matched_distractors(properties, own, 99)
    easy = rng.integers(500, 2000, (500, 99))
    recalls = [(ranks_among(queries, properties, own, some) == 1).mean() for some in (hard, easy)]
    assert recalls[0] < 0.3 < 0.6 < recalls[1]
    result = distance_contrast(queries, properties, own, hard)
    assert result["ratio"] < 0.2 < result["hard_ratio"] < 1
    assert 0.5 < result["hard_auc"] < result["auc"]


def test_contrast_of_equal_galaxies():
    rng = np.random.default_rng(3)
    queries, pool = rng.normal(size=(2, 3000, 6))
    hard = rng.integers(0, 3000, (3000, 5))
    result = distance_contrast(queries, pool, np.arange(3000), hard)
    assert_allclose(list(result.values()), [1, 0.5, 1, 0.5], atol=0.03)


def test_small_pools_and_missing_values_are_refused():
    with pytest.raises(ValueError, match="from 1 to 4"):
        matched_distractors(np.zeros((5, 2)), np.arange(3), 5)
    with pytest.raises(ValueError, match="finite"):
        matched_distractors(np.full((5, 2), np.nan), np.arange(3), 2)
