"""Which pairs are plausible: wrong matches lie as far apart as random galaxies do."""

from __future__ import annotations

import numpy as np
from scipy.stats import gaussian_kde, norm

from galaxy_da.models.networks import Encoder
from training.adaptation.paired_images import PairedImages

__all__ = ["plausibility", "sound_pairs"]

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


def sound_pairs(pairs: PairedImages, network: Encoder, seed: int) -> np.ndarray:
    """Find the pairs that are more likely one galaxy than two.

    Parameters
    ----------
    pairs : PairedImages
    network : Encoder
        Of the target, the best that is known.
    seed : int
        Of the random pairs they are compared with.

    Returns
    -------
    (k,) int array
        Their rows.
    """
    n = len(pairs)
    strangers = np.random.default_rng(seed).integers(1, n, n)
    galaxy = pairs.space.galaxy_latents
    mean = pairs.encode(network).mean[:, :galaxy]
    own, other = (
        (mean - pairs.mean[rows, :galaxy]).norm(dim=1).numpy()
        for rows in (np.arange(n), (np.arange(n) + strangers) % n)
    )
    return np.flatnonzero(plausibility(own, other) > 0.5)
