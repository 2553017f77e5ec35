"""Whether two cutouts show the same galaxy: distances of posteriors, and a probability.

A difference of two latents means more where both are well measured. `posterior_distance` counts it
in units of the two posteriors' summed variance; `Sameness` turns what two posteriors have in common
into a likelihood ratio, fitted on pairs that are known.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.special import expit, logit

__all__ = [
    "MatchProbability",
    "Population",
    "gaussian_log_ratio",
    "posterior_distance",
    "probability",
    "statistics",
]

_TINY = 1e-12


def posterior_distance(
    mean1: np.ndarray, variance1: np.ndarray, mean2: np.ndarray, variance2: np.ndarray
) -> np.ndarray:
    """Sum over latents of the squared difference of means over the sum of variances.

    Of two looks at one galaxy it follows chi squared with as many degrees of freedom as latents, if
    the variances are right and the latents' errors independent Gaussians.

    Parameters
    ----------
    mean1, variance1, mean2, variance2 : (..., latents) float arrays
        Posteriors, pair by pair; variances are positive.

    Returns
    -------
    (...) float64 array
    """
    squared = np.square(np.subtract(mean1, mean2, dtype=np.float64))
    return np.asarray((squared / np.add(variance1, variance2, dtype=np.float64)).sum(-1))


class Population(BaseModel):
    """Gaussian distribution of the anchor's galaxies, latent by latent.

    Attributes
    ----------
    mean, variance : tuple of float
        Measurement error not included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: tuple[float, ...]
    variance: tuple[float, ...]

    @model_validator(mode="after")
    def _is_a_distribution(self) -> Self:
        if len(self.mean) != len(self.variance) or not (np.array(self.variance) > 0).all():
            raise ValueError("mean and variance must be equally many, variances positive")
        return self


def gaussian_log_ratio(
    population: Population,
    mean1: np.ndarray,
    variance1: np.ndarray,
    mean2: np.ndarray,
    variance2: np.ndarray,
) -> np.ndarray:
    """Log likelihood ratio, one galaxy over two, if everything were Gaussian and independent.

    Two looks at one galaxy are correlated through its true latent y ~ N(mu, s): their covariance is
    ((s + v1, s), (s, s + v2)); those of two galaxies are not. Agreement far from the mean of the
    population counts for more than agreement near it.

    Parameters
    ----------
    population : Population
        mu and s.
    mean1, variance1, mean2, variance2 : (..., latents) float arrays
        As for `posterior_distance`.

    Returns
    -------
    (...) float64 array

    References
    ----------
    Probabilistic linear discriminant analysis: Ioffe 2006, ECCV, LNCS 3954, 531.
    """
    centre, s = np.array(population.mean), np.array(population.variance)
    x, y = (np.subtract(mean, centre, dtype=np.float64) for mean in (mean1, mean2))
    v, w = (np.add(variance, s, dtype=np.float64) for variance in (variance1, variance2))
    determinant = v * w - s**2
    joined = (w * x**2 - 2 * s * x * y + v * y**2) / determinant
    apart = x**2 / v + y**2 / w
    return np.asarray((apart - joined - np.log(determinant / (v * w))).sum(-1) / 2)


class MatchProbability(BaseModel):
    """Likelihood ratio that two posteriors are of one galaxy, over two drawn at random.

    The ratio is floor + (1 - floor) exp(intercept + weights . statistics), where the statistics are
    the log Euclidean distance of means, the log posterior distance, and the Gaussian log ratio, and
    the exponent is at most `most`. Closer is never less probable.

    Attributes
    ----------
    population : Population
        Of the anchor.
    intercept : float
        Of the log ratio.
    weights : (float, float, float)
        Of the statistics.
    floor : float
        Share of true pairs that look like strangers (blends, artefacts): the smallest ratio.
    most : float
        Largest exponent: that of the most alike pair of the fit.
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
        """Log likelihood ratio of pairs of posteriors, anchor and target in either order.

        Parameters
        ----------
        mean1, variance1, mean2, variance2 : (..., latents) float arrays
            As for `posterior_distance`.

        Returns
        -------
        (...) float64 array

        Raises
        ------
        ValueError
            If the posteriors have another number of latents than the fit.
        """
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
    """Return what `Sameness` weighs, (..., 3) float64.

    The Gaussian ratio is bounded below at minus one per latent, since what lies farther apart than
    that is decided, and the tails of true pairs are never Gaussian.
    """
    distance = np.linalg.norm(np.subtract(mean1, mean2, dtype=np.float64), axis=-1)
    scaled = posterior_distance(mean1, variance1, mean2, variance2)
    ratio = gaussian_log_ratio(population, mean1, variance1, mean2, variance2)
    bounded = np.maximum(ratio, -len(population.mean))
    return np.stack(
        [np.log(np.maximum(distance, _TINY)), np.log(np.maximum(scaled, _TINY)), bounded], axis=-1
    )


def probability(log_ratio: np.ndarray, prior: float | np.ndarray = 0.5) -> np.ndarray:
    """Probability of one galaxy, by Bayes' theorem.

    Parameters
    ----------
    log_ratio : (...) float array
        From `Sameness.log_ratio`.
    prior : float or (...) float array
        Probability before the images were seen: one minus the share of false matches for the pairs
        of a crossmatch, one over the number of galaxies for a search among all.

    Returns
    -------
    (...) float64 array

    Raises
    ------
    ValueError
        If a prior is not between 0 and 1, neither included.
    """
    prior = np.asarray(prior, dtype=np.float64)
    if not ((prior > 0) & (prior < 1)).all():
        raise ValueError(f"prior must lie between 0 and 1, neither included, but is {prior}")
    return np.asarray(expit(log_ratio + logit(prior)))
