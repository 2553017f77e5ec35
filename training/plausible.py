"""Which pairs are plausible: wrong matches lie as far apart as random galaxies do."""

from __future__ import annotations

import numpy as np
from scipy.stats import gaussian_kde, norm

__all__ = ["plausibility"]

_ROUNDS = 100


def plausibility(distances: np.ndarray, random: np.ndarray) -> np.ndarray:
    """Probability that each pair shows one galaxy.

    A mixture of two densities of the logarithm of distance: that of random pairs, which is known,
    and a Gaussian for true pairs, fitted with its share by expectation and maximisation.

    Parameters
    ----------
    distances : (n,) float array
        Latent distances of the pairs.
    random : (m,) float array
        Latent distances of random pairs, at least two different ones.

    Returns
    -------
    (n,) float array

    References
    ----------
    Dempster, Laird & Rubin (1977), J. R. Stat. Soc. B 39, 1.
    """
    x, y = (np.log(np.maximum(values, 1e-12)) for values in (distances, random))
    wrong = np.maximum(gaussian_kde(y)(x), 1e-300)
    nearer = x < np.median(y)
    right = np.where(nearer, 0.9, 0.1)
    for _ in range(_ROUNDS):
        share = right.mean()
        mean = np.average(x, weights=right)
        spread = max(np.sqrt(np.average((x - mean) ** 2, weights=right)), 1e-3)
        # A Gaussian would also claim what lies beyond all random pairs.
        density = norm.pdf(np.maximum(x, mean), mean, spread)
        before, right = right, share * density / (share * density + (1 - share) * wrong)
        if np.abs(right - before).max() < 1e-6:
            break
    return np.asarray(right)
