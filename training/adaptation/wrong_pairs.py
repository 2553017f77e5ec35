"""Detection of wrong pairs, whose latents differ as much as those of random galaxies."""

from __future__ import annotations

import numpy as np
from scipy.stats import gaussian_kde, norm

from galaxy_da.models.networks import Encoder
from training.adaptation.images import PairedImages

_ROUNDS = 100


def pair_probability(distances: np.ndarray, random: np.ndarray) -> np.ndarray:
    """Return the (n,) probability that each pair shows one galaxy, from latent distances.

    A mixture of two densities describes the logarithms of the distances: the known one of random
    pairs, and a Gaussian for true pairs. Expectation maximisation fits the Gaussian and its share
    (Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39, 1). `random` holds at least two different
    distances.
    """
    x, y = (np.log(np.maximum(values, 1e-12)) for values in (distances, random))
    wrong = np.maximum(gaussian_kde(y)(x), 1e-300)
    right = np.where(x < np.median(y), 0.9, 0.1)
    for _ in range(_ROUNDS):
        share = right.mean()
        mean = np.average(x, weights=right)
        spread = max(np.sqrt(np.average((x - mean) ** 2, weights=right)), 1e-3)
        # Constant below the mean, so that the closest pairs stay probable.
        density = norm.pdf(np.maximum(x, mean), mean, spread)
        before, right = right, share * density / (share * density + (1 - share) * wrong)
        if np.abs(right - before).max() < 1e-6:
            break
    return np.asarray(right)


def likely_pairs(pairs: PairedImages, network: Encoder, seed: int) -> np.ndarray:
    """Return the rows of the pairs that more likely show one galaxy than two, by a network."""
    n = len(pairs)
    shift = np.random.default_rng(seed).integers(1, n, n)
    galaxy = pairs.space.galaxy_latents
    mean = pairs.encode(network).mean[:, :galaxy]
    own, other = (
        (mean - pairs.mean[rows, :galaxy]).norm(dim=1).numpy()
        for rows in (np.arange(n), (np.arange(n) + shift) % n)
    )
    return np.flatnonzero(pair_probability(own, other) > 0.5)
