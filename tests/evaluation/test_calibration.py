import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binned_statistic

from evaluation.calibration import expected_calibration_error, reliability


def stated_and_happened(seed=0, n=3000):
    rng = np.random.default_rng(seed)
    probability = rng.random(n)
    return probability, rng.random(n) < probability**2


def test_curve_against_binned_means():
    probability, happened = stated_and_happened()
    curve = reliability(probability, happened, 10)
    for name, values in (("observed", happened), ("stated", probability)):
        expected = binned_statistic(probability, values, "mean", 10, (0, 1)).statistic
        assert_allclose(curve[name], expected)
    assert curve["count"].tolist() == np.histogram(probability, 10, (0, 1))[0].tolist()


def test_empty_bins_are_left_out():
    curve = reliability(np.array([0.1, 0.15, 0.9]), np.array([False, True, True]), 5)
    assert_allclose(curve["stated"], [0.125, 0.9])
    assert_allclose(curve["observed"], [0.5, 1])
    assert curve["count"].tolist() == [2, 1]


def test_calibration_error_against_torchmetrics():
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    probability, happened = stated_and_happened(1)
    expected = metrics.binary_calibration_error(
        torch.from_numpy(probability), torch.from_numpy(happened).long(), n_bins=15
    )
    assert_allclose(expected_calibration_error(probability, happened), float(expected), rtol=1e-6)


def test_calibration_error_of_true_and_of_wrong_probabilities():
    probability, _ = stated_and_happened(2, 50_000)
    true = np.random.default_rng(3).random(50_000) < probability
    assert expected_calibration_error(probability, true) < 0.015
    assert expected_calibration_error(np.ones(9), np.zeros(9, bool)) == 1


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        reliability(np.array([0.2, 1.4]), np.array([True, False]))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[3, 2\]"):
        reliability(np.zeros(2), np.zeros(3, bool))
