import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import accuracy_score, f1_score

from evaluation.transfer import MorphologyClassifier, gap_closed


def classes(n, seed):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    return np.eye(3)[label] * 4 + rng.normal(size=(n, 3)), np.array(["a", "b", "c"])[label]


def test_scores_against_sklearn_on_the_same_forest():
    latents, labels = classes(300, 0)
    classifier = MorphologyClassifier(latents, labels)
    shifted, truth = classes(200, 1)
    shifted += [2, 0, 0]
    found = classifier.score(shifted, truth)
    chosen = classifier._forest.predict(shifted)
    assert found["accuracy"] == accuracy_score(truth, chosen)
    assert_allclose(found["macro_f1"], f1_score(truth, chosen, average="macro"))
    assert 0 <= found["ece"] <= 1


def test_a_shift_costs_accuracy_and_calibration():
    classifier = MorphologyClassifier(*classes(600, 0))
    latents, labels = classes(400, 1)
    shifted = latents + np.array([3, 0, 0])
    home, away = classifier.score(latents, labels), classifier.score(shifted, labels)
    assert home["accuracy"] > 0.95 > 0.8 > away["accuracy"]
    assert home["macro_f1"] > away["macro_f1"] and home["ece"] < away["ece"]


@pytest.mark.parametrize(
    ("before", "after", "share"), [(0.6, 0.75, 0.5), (0.6, 0.9, 1), (0.6, 0.5, -1 / 3)]
)
def test_share_of_the_gap_closed(before, after, share):
    assert_allclose(gap_closed(before, after, 0.9), share)


def test_without_a_gap_there_is_no_share():
    assert gap_closed(0.9, 0.95, 0.9) is None
