"""Three ways of being odd: alone, far out, badly redrawn."""

from __future__ import annotations

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

__all__ = ["isolation", "remoteness"]

_NEIGHBOURS = 10


def isolation(galaxy: np.ndarray) -> np.ndarray:
    """Return the mean distance of each galaxy to its ten nearest neighbours.

    Parameters
    ----------
    galaxy : (n, galaxy latents) float array
        Posterior means.

    Returns
    -------
    (n,) float array
    """
    count = min(_NEIGHBOURS, len(galaxy) - 1)
    # Without points to ask about, scikit-learn leaves each point out of its own neighbours.
    distance, _ = NearestNeighbors(n_neighbors=count).fit(galaxy).kneighbors()
    return np.asarray(distance.mean(1))


def remoteness(galaxy: np.ndarray) -> np.ndarray:
    """Mahalanobis distance of each galaxy from the middle of all, in standard deviations.

    Parameters
    ----------
    galaxy : (n, galaxy latents) float array
        Posterior means.

    Returns
    -------
    (n,) float array

    References
    ----------
    Covariance: Ledoit & Wolf 2004, J. Multivariate Anal. 88, 365.
    """
    return np.asarray(np.sqrt(LedoitWolf().fit(galaxy).mahalanobis(galaxy)))
