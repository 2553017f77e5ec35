import numpy as np
import pytest

from training.adaptation.candidates import UNADAPTED
from training.adaptation.selection import best_of

N = 100
NONE, HALF = np.zeros(N), np.repeat([0.0, 1.0], N // 2)
ERROR = 0.5 / np.sqrt(N)  # of a gain from 0 to 1 that is seen in half of the pairs


@pytest.mark.parametrize(
    ("gain", "chosen"),
    [(1.1 * ERROR, "better"), (0.9 * ERROR, UNADAPTED)],
    ids=["beyond", "within"],
)
def test_a_gain_has_to_exceed_its_error(gain, chosen):
    ranks = {UNADAPTED: NONE, "better": HALF - 0.5 + gain, "worse": NONE - 1}
    assert best_of(ranks) == chosen


def test_what_is_known_without_pairs_is_not_given_up_for_less_than_the_error():
    ranks = {UNADAPTED: NONE, "pairs": HALF + 0.9 * ERROR, "unpaired": NONE + 0.5}
    assert best_of(ranks) == "pairs"
    assert best_of(ranks, than="unpaired") == "unpaired"
