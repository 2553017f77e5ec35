"""Scale the errors that a probe states, by magnitude, on galaxies outside its fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evaluation.probes.errors import residuals
from galaxy_da.models.probes import Probe

_BINS, _FEWEST = 6, 40  # bins of magnitude, and galaxies in each
_WITHIN = 0.6827  # share of residuals within one standard deviation


def error_factors(probe: Probe, summaries: np.ndarray, truth: np.ndarray) -> Probe:
    """Return a probe whose errors hold 68% of the residuals of galaxies at any magnitude.

    `summaries` are (n, inputs), `truth` (n,) with NaN where it is unknown. Probabilities, and fits
    with fewer than 40 known galaxies, keep their errors.
    """
    known = np.isfinite(truth)
    if probe.link == "logistic" or known.sum() < _FEWEST:
        return probe
    found = probe.predict(summaries[known])
    error = found.error / found.value if probe.link == "exp" else found.error
    pull = np.abs(residuals(probe.link, truth[known], found.value)) / np.maximum(error, 1e-9)
    magnitude = summaries[known, 0]
    order = np.argsort(magnitude)
    bins = np.array_split(order, max(1, min(_BINS, len(order) // _FEWEST)))
    middles = [float(np.median(magnitude[rows])) for rows in bins]
    factors = [float(np.quantile(pull[rows], _WITHIN)) for rows in bins]
    return replace(
        probe,
        magnitudes=np.array(middles, np.float32),
        factors=np.array(factors, np.float32),
    )
