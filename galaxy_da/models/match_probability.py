"""Probability that two cutouts show the same galaxy, from the posteriors of their latents.

`posterior_distance` measures differences of latents in units of the summed posterior variance.
`MatchProbability` combines three such statistics to a likelihood ratio, fitted on known pairs.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

_TINY = 1e-12


def posterior_distance(
    mean1: np.ndarray, variance1: np.ndarray, mean2: np.ndarray, variance2: np.ndarray
) -> np.ndarray:
    """Return the squared difference of means over the sum of variances, summed over (..., latents).

    For two observations of one galaxy it follows chi squared with as many degrees of freedom as
    latents, if the errors are independent Gaussians of these variances.
    """
    squared = np.square(np.subtract(mean1, mean2, dtype=np.float64))
    return np.asarray((squared / np.add(variance1, variance2, dtype=np.float64)).sum(-1))


class Population(BaseModel):
    """Gaussian distribution of the anchor's galaxies, independent in each latent, without error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float, ...]
    variance: tuple[float, ...]

    @model_validator(mode="after")
    def _is_a_distribution(self) -> Self:
        if len(self.mean) != len(self.variance) or not (np.array(self.variance) > 0).all():
            raise ValueError("mean and variance must be of one length, and variances positive")
        return self


def gaussian_log_ratio(
    population: Population,
    mean1: np.ndarray,
    variance1: np.ndarray,
    mean2: np.ndarray,
    variance2: np.ndarray,
) -> np.ndarray:
    """Return the log likelihood ratio of one galaxy to two, for independent Gaussian latents.

    Two observations of one galaxy are correlated through its true latent y ~ N(mu, s): their
    covariance is ((s + v1, s), (s, s + v2)). Those of two galaxies are uncorrelated. Agreement far
    from the mean of the population therefore counts more than agreement near it (probabilistic
    linear discriminant analysis: Ioffe 2006, ECCV, LNCS 3954, 531).
    """
    centre, s = np.array(population.mean), np.array(population.variance)
    x, y = (np.subtract(mean, centre, dtype=np.float64) for mean in (mean1, mean2))
    v, w = (np.add(variance, s, dtype=np.float64) for variance in (variance1, variance2))
    determinant = v * w - s**2
    same = (w * x**2 - 2 * s * x * y + v * y**2) / determinant
    different = x**2 / v + y**2 / w
    return np.asarray((different - same - np.log(determinant / (v * w))).sum(-1) / 2)


class MatchProbability(BaseModel):
    """Model of the likelihood ratio that two posteriors are of one galaxy, not of two.

    The ratio is floor + (1 - floor) exp(intercept + weights . statistics). The statistics are the
    log Euclidean distance of means, the log posterior distance, and the Gaussian log ratio. The
    exponent is at most `most`. The ratio never falls as two posteriors approach each other.

    Attributes
    ----------
    population : Population
        Distribution of the anchor's galaxies.
    intercept : float
        Constant term of the exponent.
    weights : (float, float, float)
        Weights of the statistics.
    floor : float
        Smallest ratio: the share of true pairs with unrelated images (blends, artefacts).
    most : float
        Largest exponent: that of the most similar pair of the fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    population: Population
    intercept: float = Field(allow_inf_nan=False)
    weights: tuple[float, float, float]
    floor: float = Field(gt=0, lt=1)
    most: float = Field(allow_inf_nan=False)

    def log_ratio(
        self, mean1: np.ndarray, variance1: np.ndarray, mean2: np.ndarray, variance2: np.ndarray
    ) -> np.ndarray:
        """Return the log likelihood ratio of pairs of posteriors (..., latents), in any order."""
        latents = len(self.population.mean)
        if np.shape(mean1)[-1] != latents or np.shape(mean2)[-1] != latents:
            raise ValueError(
                f"posteriors must have {latents} latents but have shapes {np.shape(mean1)} and "
                f"{np.shape(mean2)}"
            )
        pairs = statistics(self.population, mean1, variance1, mean2, variance2)
        exponent = np.minimum(self.intercept + pairs @ np.array(self.weights), self.most)
        return np.asarray(np.logaddexp(np.log(self.floor), np.log1p(-self.floor) + exponent))


def statistics(
    population: Population,
    mean1: np.ndarray,
    variance1: np.ndarray,
    mean2: np.ndarray,
    variance2: np.ndarray,
) -> np.ndarray:
    """Return the statistics that `MatchProbability` weights, (..., 3) float64.

    The Gaussian ratio is bounded below at minus one per latent: such pairs are clearly different,
    and the tails of true pairs are not Gaussian.
    """
    distance = np.linalg.norm(np.subtract(mean1, mean2, dtype=np.float64), axis=-1)
    scaled = posterior_distance(mean1, variance1, mean2, variance2)
    ratio = gaussian_log_ratio(population, mean1, variance1, mean2, variance2)
    bounded = np.maximum(ratio, -len(population.mean))
    return np.stack(
        [np.log(np.maximum(distance, _TINY)), np.log(np.maximum(scaled, _TINY)), bounded], axis=-1
    )


def probability(log_ratio: np.ndarray, prior: float | np.ndarray = 0.5) -> np.ndarray:
    """Return the match probability, by Bayes' theorem.

    Parameters
    ----------
    log_ratio : (...) float array
        From `MatchProbability.log_ratio`.
    prior : float or (...) float array
        Probability before the images are compared: one minus the share of false matches for pairs
        of a crossmatch, or one over the number of galaxies for a search among all.
    """
    prior = np.asarray(prior, dtype=np.float64)
    if not ((prior > 0) & (prior < 1)).all():
        raise ValueError(f"prior must lie between 0 and 1, neither included, but is {prior}")
    from scipy.special import expit, logit

    return np.asarray(expit(log_ratio + logit(prior)))
