import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from evaluation.calibration import brier, expected_calibration_error, reliability


def stated_and_happened(seed=0, n=3000):
    rng = np.random.default_rng(seed)
    probability = rng.random(n)
    return probability, rng.random(n) < probability**2


def test_curve_and_brier_against_sklearn():
    probability, happened = stated_and_happened()
    curve = reliability(probability, happened, 10)
    observed, stated = calibration_curve(happened, probability, n_bins=10)
    assert_allclose(curve["observed"], observed)
    assert_allclose(curve["stated"], stated)
    assert curve["count"].sum() == len(probability)
    assert_allclose(brier(probability, happened), brier_score_loss(happened, probability))


def test_ece_against_torchmetrics():
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    probability, happened = stated_and_happened(1)
    expected = metrics.binary_calibration_error(
        torch.from_numpy(probability), torch.from_numpy(happened).long(), n_bins=15
    )
    assert_allclose(expected_calibration_error(probability, happened), float(expected), rtol=1e-6)


def test_ece_of_honest_and_of_sure_and_wrong():
    probability, _ = stated_and_happened(2, 50_000)
    honest = np.random.default_rng(3).random(50_000) < probability
    assert expected_calibration_error(probability, honest) < 0.015
    assert expected_calibration_error(np.ones(9), np.zeros(9, bool)) == 1


def test_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match="between 0 and 1"):
        brierless = np.array([0.2, 1.4])
        reliability(brierless, np.array([True, False]))
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        reliability(np.zeros(2), np.zeros(3, bool))
