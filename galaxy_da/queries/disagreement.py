"""Images of one galaxy that differ between two surveys: transients, artefacts, wrong matches.

Each survey's latents are predicted from the other's. ``python -m benchmarks.outliers`` compares the
residual with plain distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from galaxy_da.index.reading import StoredIndex
from galaxy_da.queries.rows import places_of_survey
from galaxy_da.queries.sky import counterparts

RADIUS_ARCSEC = 1.0
"""Largest separation of the two positions of a galaxy."""

_PAIRS_PER_LATENT = 5
_FOLDS, _SEED = 5, 0
_PENALTIES = tuple(10.0**power for power in range(-1, 5))
_MAD_TO_SIGMA = 1.4826
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Disagreements:
    """Pairs of images of one galaxy by two surveys.

    Attributes
    ----------
    first, second : (n,) int array
        Places of the images among the rows that were compared.
    ratio : (n,) float64 array
        Difference of the images over the median difference of these surveys.
    score : (n,) float64 array
        Minus the decimal logarithm of the share of pairs that differ at least as much.
    """

    first: np.ndarray
    second: np.ndarray
    ratio: np.ndarray
    score: np.ndarray


def find_disagreements(index: StoredIndex, rows: np.ndarray) -> Disagreements:
    """Compare the images of each galaxy by every two surveys, among ascending rows of an index.

    The galaxies are those whose positions in two surveys are mutual nearest neighbours within
    `RADIUS_ARCSEC`. Two surveys with fewer than five galaxies per latent in common are not
    compared.
    """
    none = np.empty(0)
    parts: list[tuple[np.ndarray, ...]] = [(none.astype(int), none.astype(int), none, none)]
    surveys = {survey: rows[places_of_survey(index, rows, survey)] for survey in index.surveys}
    for one, other in combinations([name for name, own in surveys.items() if len(own)], 2):
        first, second, _ = counterparts(index, surveys[one], surveys[other], RADIUS_ARCSEC)
        if len(first) >= _PAIRS_PER_LATENT * (index.dimension + 1):
            difference = residual(index.vectors[first], index.vectors[second])
            places = (np.searchsorted(rows, some) for some in (first, second))
            ratio = difference / max(float(np.median(difference)), _TINY)
            parts.append((*places, ratio, log_share(ratio)))
    return Disagreements(*map(np.concatenate, zip(*parts, strict=True)))


def residual(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how much each galaxy's latents in two surveys, (n, d) each, differ from predictions.

    Ridge regression predicts either survey's latents from the other's, for each galaxy from a fit
    without it. The result, (n,), is the norm of both residuals.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(_FOLDS, shuffle=True, random_state=_SEED)
    squared = np.zeros(len(one))
    for known, wanted in ((one, other), (other, one)):
        predicted = cross_val_predict(RidgeCV(_PENALTIES), known, wanted, cv=folds)
        squared += np.square(predicted - wanted).sum(1)
    return np.sqrt(squared)


def log_share(values: np.ndarray) -> np.ndarray:
    """Return minus log10 of the share of positive values that are higher, if log-normal.

    Centre and scatter are the median and the median absolute deviation, which a few pairs of
    different galaxies hardly change.
    """
    from scipy.stats import norm

    log = np.log(values + _TINY)
    centre = np.median(log)
    scatter = _MAD_TO_SIGMA * float(np.median(np.abs(log - centre))) + _TINY
    return np.asarray(np.abs(norm.logsf((log - centre) / scatter)) / np.log(10))
