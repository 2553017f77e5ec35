"""Calibration of stated probabilities."""

from __future__ import annotations

import numpy as np
from sklearn.calibration import calibration_curve

_BINS = 15


def reliability(
    probability: np.ndarray, happened: np.ndarray, bins: int = _BINS
) -> dict[str, np.ndarray]:
    """Compare (n,) stated probabilities with the share of events that happened, (n,) bool.

    Returns ``stated`` (mean probability), ``observed`` (share that happened) and ``count`` of each
    bin of equal width that is not empty. Raises ValueError if a probability is not between 0 and 1.
    """
    observed, stated = calibration_curve(happened, probability, n_bins=bins)
    edges = np.linspace(0, 1, bins + 1)[1:-1]  # as calibration_curve, which gives no counts
    count = np.bincount(np.searchsorted(edges, probability), minlength=bins)
    return {"stated": stated, "observed": observed, "count": count[count > 0]}


def expected_calibration_error(
    probability: np.ndarray, happened: np.ndarray, bins: int = _BINS
) -> float:
    """Mean absolute difference of stated and observed shares, weighted by the bins' counts.

    It is equation 3 of Guo et al. 2017, ICML, arXiv 1706.04599.
    """
    curve = reliability(probability, happened, bins)
    return float(np.average(np.abs(curve["stated"] - curve["observed"]), weights=curve["count"]))
