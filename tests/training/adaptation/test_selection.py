import numpy as np
import pytest

from training.adaptation.candidates import BY_DEFINITION
from training.adaptation.selection import best_candidate, closest_of_the_best, selection_record

N = 100
NONE, HALF = np.zeros(N), np.repeat([0.0, 1.0], N // 2)
ERROR = 0.5 / np.sqrt(N)  # of a gain that is 0 in one half of the pairs and 1 in the other


@pytest.mark.parametrize(
    ("gain", "chosen"),
    [(1.1 * ERROR, "better"), (0.9 * ERROR, BY_DEFINITION)],
    ids=["beyond", "within"],
)
def test_a_gain_must_exceed_its_error(gain, chosen):
    ranks = {BY_DEFINITION: NONE, "better": HALF - 0.5 + gain, "worse": NONE - 1}
    assert best_candidate(ranks) == chosen


@pytest.mark.parametrize(
    ("loss", "chosen"),
    [(0.9 * ERROR, "mixed"), (1.1 * ERROR, "best")],
    ids=["within", "beyond"],
)
def test_the_closest_to_the_anchor_is_chosen_of_those_as_good_as_the_best(loss, chosen):
    scattered = 2 * HALF - 1  # twice the scatter, so that half the error is `ERROR`
    ranks = {BY_DEFINITION: scattered - 1, "best": NONE, "mixed": scattered - loss}
    distances = {BY_DEFINITION: 0.0, "best": 0.5, "mixed": 0.1}
    assert closest_of_the_best(ranks, distances.__getitem__) == chosen


def test_the_record_says_by_how_much_the_chosen_candidate_won():
    scores = {BY_DEFINITION: NONE - 0.5, "better": HALF - 0.5}
    record = selection_record("test", "better", scores, "mmd")
    assert (record["gain"], record["gain_error"]) == pytest.approx((0.5, ERROR))
    assert record["candidates"][0] == {
        "name": BY_DEFINITION,
        "mmd": 0.5,
        "gain": 0,
        "gain_error": 0,
    }
