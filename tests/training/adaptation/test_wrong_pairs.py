import numpy as np
import pytest

from training.adaptation.wrong_pairs import pair_probability


def drawn(wrong_share, seed=0, n=2000):
    """Return distances of pairs, a mask of the wrong ones, and distances of random pairs."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(n) < wrong_share
    random = rng.chisquare(20, n) ** 0.5
    true = 0.25 * rng.chisquare(20, n) ** 0.5
    return np.where(wrong, rng.permutation(random), true), wrong, random


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.3])
def test_wrong_pairs_and_their_share_are_found(share):
    distances, wrong, random = drawn(share)
    right = pair_probability(distances, random)
    assert 1 - right.mean() == pytest.approx(wrong.mean(), abs=0.02)
    assert np.mean((right > 0.5) == ~wrong) > 0.97


def test_probabilities_are_calibrated_where_the_two_overlap():
    rng = np.random.default_rng(1)
    n = 20_000
    wrong = rng.random(n) < 0.3
    random, true = np.exp(rng.normal(0, 0.5, n)), np.exp(rng.normal(-1.2, 0.5, n))
    right = pair_probability(np.where(wrong, random, true), np.exp(rng.normal(0, 0.5, n)))
    unsure = (right > 0.4) & (right < 0.6)
    assert unsure.sum() > 300
    assert np.mean(~wrong[unsure]) == pytest.approx(right[unsure].mean(), abs=0.08)
