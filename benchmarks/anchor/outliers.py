"""Outlier scores by neighbour distance and by Mahalanobis distance."""

from __future__ import annotations

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

__all__ = ["mahalanobis_distance", "neighbour_distance"]

_NEIGHBOURS = 10


def neighbour_distance(galaxy: np.ndarray) -> np.ndarray:
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
    # Without query points, scikit-learn leaves each point out of its own neighbours.
    distance, _ = NearestNeighbors(n_neighbors=count).fit(galaxy).kneighbors()
    return np.asarray(distance.mean(1))


def mahalanobis_distance(galaxy: np.ndarray) -> np.ndarray:
    """Return the Mahalanobis distance of each galaxy from the mean of all.

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
