"""Exhaustive search by matrix products against distances in double precision."""

import numpy as np
import pytest
from index_helpers import make

from galaxy_da.index.exhaustive import Exhaustive, worthwhile
from galaxy_da.latent_index import LatentIndex


@pytest.mark.parametrize("offset", [0, 30])
def test_candidates_hold_the_nearest_or_say_that_they_may_not(offset):
    rng = np.random.default_rng(0)
    vectors = (offset + rng.normal(size=(20_001, 12))).astype(np.float32)
    vectors[500:540] = vectors[500] + rng.normal(0, 1e-7, (40, 12))  # closer than rounding
    points = np.concatenate([vectors[[20_000, 3, 500]], vectors[:5] + 1])
    places, sure = Exhaustive(vectors).nearest(points, 10)
    exact = np.linalg.norm(vectors[None].astype(float) - points[:, None], axis=2)
    assert sure.tolist() == [row != 2 for row in range(8)]
    for point in np.flatnonzero(sure):
        assert set(np.argsort(exact[point])[:10]) <= set(places[point])


def test_small_and_huge_indexes_and_many_neighbours_are_left_to_faiss():
    assert worthwhile(16, 11, 100_000)
    assert not worthwhile(1, 11, 100_000)
    assert not worthwhile(16, 11, 5000)
    assert not worthwhile(16, 11, 10_000_000)
    assert not worthwhile(16, 10_000, 100_000)


def test_a_search_for_many_points_equals_searches_for_one():
    vectors = np.random.default_rng(1).normal(size=(12_000, 8)).astype(np.float32)
    vectors[100:150] = vectors[100]  # ties go to the first rows
    index = LatentIndex.build([make("sdss", list(vectors))])
    points = vectors[95:125]
    together = index.search(points, 10)
    for place, point in enumerate(points):
        alone = index.search(point[None], 10)
        np.testing.assert_array_equal(together[1][place], alone[1][0])
        np.testing.assert_array_equal(together[0][place], alone[0][0])
