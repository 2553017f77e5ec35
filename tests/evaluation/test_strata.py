import numpy as np

from evaluation.retrieval import recall_of
from evaluation.strata import MAGNITUDES, SIZES_OVER_PSF, by_stratum


def test_each_interval_by_hand():
    rng = np.random.default_rng(0)
    ranks, mags = rng.integers(1, 30, 400), rng.uniform(17, 21.5, 400)
    mags[0], mags[1], ranks[1] = 17.0, 21.5, 1
    found = by_stratum(ranks, 100, mags, MAGNITUDES)
    assert list(found) == ["17-18.5", "18.5-20", "20-21", "21-21.5"]
    inside = (mags >= 18.5) & (mags < 20)
    assert found["18.5-20"] == recall_of(ranks[inside], 100)
    assert sum(recall.queries for recall in found.values()) == 400


def test_open_ended_and_empty_intervals():
    found = by_stratum(np.array([1, 2, 3]), 9, np.array([0.7, 30.0, 0.6]), SIZES_OVER_PSF)
    assert {name: recall.queries for name, recall in found.items()} == {"0.5-1": 2, "2-inf": 1}


def test_values_outside_all_intervals_are_left_out():
    found = by_stratum(np.array([1, 2]), 9, np.array([15.0, 17.2]), MAGNITUDES)
    assert {name: recall.queries for name, recall in found.items()} == {"17-18.5": 1}
