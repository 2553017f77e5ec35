"""Calibration of stated probabilities."""

from __future__ import annotations

import numpy as np
from sklearn.calibration import calibration_curve

__all__ = ["expected_calibration_error", "reliability"]

_BINS = 15


def reliability(
    probability: np.ndarray, happened: np.ndarray, bins: int = _BINS
) -> dict[str, np.ndarray]:
    """Compare stated probabilities with the frequency of the event.

    Parameters
    ----------
    probability : (n,) float array
        Stated probabilities, between 0 and 1.
    happened : (n,) bool array
        True where the event happened.
    bins : int
        Number of bins of equal width in probability.

    Returns
    -------
    dict of arrays
        ``stated`` (mean probability), ``observed`` (share that happened) and ``count`` of each bin
        that is not empty.

    Raises
    ------
    ValueError
        If a probability is not between 0 and 1, or shapes differ.
    """
    observed, stated = calibration_curve(happened, probability, n_bins=bins)
    edges = np.linspace(0, 1, bins + 1)[1:-1]  # as calibration_curve, which gives no counts
    count = np.bincount(np.searchsorted(edges, probability), minlength=bins)
    return {"stated": stated, "observed": observed, "count": count[count > 0]}


def expected_calibration_error(
    probability: np.ndarray, happened: np.ndarray, bins: int = _BINS
) -> float:
    """Mean absolute difference of stated and observed shares, weighted by the bins' counts.

    Parameters and errors are those of `reliability`.

    References
    ----------
    Guo et al. 2017, ICML, arXiv 1706.04599, equation 3.
    """
    curve = reliability(probability, happened, bins)
    return float(np.average(np.abs(curve["stated"] - curve["observed"]), weights=curve["count"]))
