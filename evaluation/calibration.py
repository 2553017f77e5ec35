"""Whether probabilities mean what they say."""

from __future__ import annotations

import numpy as np

__all__ = ["brier", "expected_calibration_error", "reliability"]

_BINS = 15


def reliability(
    probability: np.ndarray, happened: np.ndarray, bins: int = _BINS
) -> dict[str, np.ndarray]:
    """Compare stated probabilities with how often the event happened.

    Parameters
    ----------
    probability : (n,) float array
        Stated, between 0 and 1.
    happened : (n,) bool array
        Whether it did.
    bins : int
        Equal bins of probability.

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
    if probability.shape != happened.shape or probability.ndim != 1:
        raise ValueError(
            f"probability and happened must be equally long but have shapes {probability.shape} "
            f"and {happened.shape}"
        )
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probability must lie between 0 and 1")
    place = np.minimum((probability * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    full = count > 0
    stated, observed = (
        np.bincount(place, weights=values, minlength=bins)[full] / count[full]
        for values in (probability, happened.astype(float))
    )
    return {"stated": stated, "observed": observed, "count": count[full]}


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
    gap = np.abs(curve["stated"] - curve["observed"])
    return float((gap * curve["count"]).sum() / len(probability))


def brier(probability: np.ndarray, happened: np.ndarray) -> float:
    """Mean squared difference of probability and outcome (Brier 1950)."""
    return float(np.square(probability - happened).mean())
