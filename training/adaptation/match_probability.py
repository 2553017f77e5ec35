"""Fit the probability of sameness on pairs that are known.

True pairs are told from pairs of different galaxies by logistic regression, weighted as they occur:
a fit at even odds would be decided far from where look-alikes lie. The log likelihood ratio is the
log odds less those with which true pairs occur. Of the many pairs of different galaxies every
look-alike is used, and some of the rest, weighted to stand for all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.special import expit
from torch import Tensor

from evaluation.match_probability import Trials, calibration, match_trials
from galaxy_da.models.match_probability import MatchProbability, Population, statistics
from galaxy_da.models.networks import Encoder
from training.adaptation.paired_images import PairedImages

__all__ = ["Observations", "fit_match_probability", "judged_matches", "match_record"]

MOST_PAIRS = 2000
"""Pairs the fit uses at most."""

FEWEST_PAIRS = 10

_LOOKALIKES, _OTHERS = 10, 20  # of each galaxy
_FOLDS = 5
_LARGEST_FLOOR = 0.5
_RIDGE = 1e-3  # on standardised weights, in nats per pair


class Observations(NamedTuple):
    """Posteriors of the same galaxies in two surveys, row by row; all (n, latents) arrays."""

    anchor_mean: np.ndarray
    anchor_variance: np.ndarray
    target_mean: np.ndarray
    target_variance: np.ndarray

    def take(self, rows: np.ndarray) -> Observations:
        """Return some of the galaxies."""
        return Observations(*(values[rows] for values in self))


def match_record(
    held: PairedImages, network: Encoder, *, wrong_share: float = 0.0, seed: int = 0
) -> dict[str, Any]:
    """Fit and judge the probability of sameness for one survey's encoder.

    Parameters
    ----------
    held : PairedImages
        Pairs the network was not fitted on.
    network : Encoder
        The target's, with calibrated variances.
    wrong_share : float
        As for `fit_sameness`.
    seed : int
        Of choice and folds.

    Returns
    -------
    dict
        ``model`` (a `galaxy_da.models.match_probability.Sameness`), ``pairs``, and
        ``cross_validated``: Brier
        score, calibration error and reliability of models that did not see what they are judged on.
    """
    galaxy = held.space.galaxy_latents
    mean, variance = held.encode(network)
    observations = Observations(
        *(_array(x, galaxy) for x in (held.mean, held.variance, mean, variance))
    )
    rng = np.random.default_rng(seed)
    observations = observations.take(rng.permutation(len(held))[:MOST_PAIRS])
    return {
        "model": fit_match_probability(observations, wrong_share=wrong_share, seed=seed).model_dump(
            mode="json"
        ),
        "pairs": len(observations.anchor_mean),
        "cross_validated": calibration(judged_matches(observations, wrong_share, seed)),
    }


def fit_match_probability(
    observations: Observations, *, wrong_share: float = 0.0, seed: int = 0
) -> MatchProbability:
    """Fit the likelihood ratio on looks at the same galaxies.

    Parameters
    ----------
    looks : Looks
        At least `FEWEST_PAIRS` galaxies.
    wrong_share : float
        Share of the pairs known to be wrong matches, as a crossmatch measures it. What else looks
        like strangers is taken for true pairs whose images do not tell.
    seed : int
        Of the other galaxies drawn.

    Raises
    ------
    ValueError
        If there are too few pairs, or the share is not in [0, 1).
    """
    n = len(observations.anchor_mean)
    if n < FEWEST_PAIRS:
        raise ValueError(f"sameness needs at least {FEWEST_PAIRS} pairs but has {n}")
    if not 0 <= wrong_share < 1:
        raise ValueError(f"wrong_share must be in [0, 1) but is {wrong_share}")
    population = _population(observations)
    target, anchor, weight = _strangers(observations, seed)
    own = np.arange(n)
    target, anchor = np.concatenate([own, target]), np.concatenate([own, anchor])
    weight, same = np.concatenate([np.ones(n), weight]), np.arange(len(target)) < n
    x = statistics(
        population,
        observations.anchor_mean[anchor],
        observations.anchor_variance[anchor],
        observations.target_mean[target],
        observations.target_variance[target],
    )
    prior = -np.log(n - 1)
    intercept, weights, floor = _regress(x, same, weight / (2 * n), prior, least=1 / (n + 2))
    floor = max((floor - wrong_share) / (1 - wrong_share), 1 / (n + 2))
    return MatchProbability(
        population=population,
        intercept=intercept,
        weights=weights,
        floor=floor,
        most=float((intercept + x[:n] @ np.array(weights)).max()),
    )


def judged_matches(observations: Observations, wrong_share: float = 0.0, seed: int = 0) -> Trials:
    """State the probability of sameness of every galaxy by a fit that did not see it."""
    n = len(observations.anchor_mean)
    parts = []
    for fold in range(_FOLDS):
        mine = np.arange(n) % _FOLDS == fold
        model = fit_match_probability(observations.take(~mine), wrong_share=wrong_share, seed=seed)
        queries = observations.target_mean[mine], observations.target_variance[mine]
        pool = observations.anchor_mean, observations.anchor_variance
        parts.append(match_trials(model, queries, pool, np.flatnonzero(mine), seed))
    return {
        task: (
            np.concatenate([part[task][0] for part in parts]),
            np.concatenate([part[task][1] for part in parts]),
        )
        for task in parts[0]
    }


def _array(values: Tensor, latents: int) -> np.ndarray:
    return values[:, :latents].double().numpy()


def _population(observations: Observations) -> Population:
    """Spread of the anchor's galaxies, their errors taken off."""
    total = observations.anchor_mean.var(0)
    own = np.maximum(total - observations.anchor_variance.mean(0), 0.1 * total)
    return Population(
        mean=tuple(observations.anchor_mean.mean(0).tolist()), variance=tuple(own.tolist())
    )


def _strangers(observations: Observations, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets and anchors that are not one galaxy, weighted to stand for all such pairs.

    The nearest anchors of each target are all taken; others are drawn from the rest.
    """
    n = len(observations.anchor_mean)
    distance = cdist(observations.target_mean, observations.anchor_mean)
    np.fill_diagonal(distance, -1)
    order = np.argsort(distance, axis=1)[:, 1:]
    near = min(_LOOKALIKES, n - 2)
    drawn = np.random.default_rng(seed).integers(near, n - 1, (n, _OTHERS))
    anchor = np.hstack([order[:, :near], np.take_along_axis(order, drawn, axis=1)])
    weight = np.repeat([1.0, (n - 1 - near) / _OTHERS], [near, _OTHERS])
    return np.repeat(np.arange(n), anchor.shape[1]), anchor.ravel(), np.tile(weight, n)


def _regress(
    x: np.ndarray, same: np.ndarray, weight: np.ndarray, prior: float, least: float
) -> tuple[float, tuple[float, float, float], float]:
    """Logistic regression with a floor under the likelihood ratio: intercept, weights, floor.

    `prior` is the log odds with which true pairs occur. The floor makes it robust to true pairs
    that look like strangers (Copas 1988, J. R. Stat. Soc. B 50, 225). Signs are bounded, so that
    what is closer is never less probable.
    """
    centre, spread = x.mean(0), np.maximum(x.std(0), 1e-9)
    z = np.column_stack([np.ones(len(x)), (x - centre) / spread])

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        eta, floor = z @ parameters[:4], parameters[4]
        log_ratio = np.logaddexp(np.log(floor), np.log1p(-floor) + eta)
        log_odds = log_ratio + prior
        value = weight @ np.logaddexp(0, np.where(same, -log_odds, log_odds))
        slope = weight * (expit(log_odds) - same)
        share = np.exp(np.log1p(-floor) + eta - log_ratio)
        by_floor = slope @ (np.exp(-log_ratio) - share / (1 - floor))
        penalty = _RIDGE * np.array([0, *parameters[1:4]])
        return value + penalty @ parameters[:4] / 2, np.append(
            (slope * share) @ z + penalty, by_floor
        )

    bounds = [(None, None), (None, 0), (None, 0), (0, None), (least, _LARGEST_FLOOR)]
    start = np.array([0.0, -1.0, 0.0, 1.0, max(0.01, least)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    first, second, third = (float(value) for value in found[1:4] / spread)
    weights = (first, second, third)
    return float(found[0] - centre @ np.array(weights)), weights, float(found[4])
