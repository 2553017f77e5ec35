import numpy as np
import pytest

from training.adaptation.candidates import UNADAPTED
from training.adaptation.selection import best_candidate

N = 100
NONE, HALF = np.zeros(N), np.repeat([0.0, 1.0], N // 2)
ERROR = 0.5 / np.sqrt(N)  # of a gain that is 0 in one half of the pairs and 1 in the other


@pytest.mark.parametrize(
    ("gain", "chosen"),
    [(1.1 * ERROR, "better"), (0.9 * ERROR, UNADAPTED)],
    ids=["beyond", "within"],
)
def test_a_gain_must_exceed_its_error(gain, chosen):
    ranks = {UNADAPTED: NONE, "better": HALF - 0.5 + gain, "worse": NONE - 1}
    assert best_candidate(ranks) == chosen


def test_the_result_without_pairs_is_kept_if_the_gain_is_within_its_error():
    ranks = {UNADAPTED: NONE, "pairs": HALF + 0.9 * ERROR, "unpaired": NONE + 0.5}
    assert best_candidate(ranks) == "pairs"
    assert best_candidate(ranks, than="unpaired") == "unpaired"
