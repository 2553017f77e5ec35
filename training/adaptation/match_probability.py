"""Fit of the match probability on known pairs.

Logistic regression separates true pairs from pairs of different galaxies. Both are weighted as they
occur: at even odds, look-alikes would hardly influence the fit. The log likelihood ratio is the log
odds minus the prior log odds of true pairs. Of the pairs of different galaxies, all look-alikes are
used, and a weighted sample of the rest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.special import expit

from evaluation.match_probability import Trials, calibration, match_trials
from galaxy_da.models.match_probability import MatchProbability, Population, statistics
from galaxy_da.models.networks import Encoder
from training.adaptation.images import PairedImages

MOST_PAIRS = 2000
"""Most pairs for the fit."""

FEWEST_PAIRS = 10

_LOOKALIKES, _OTHERS = 10, 20  # of each galaxy
_FOLDS = 5
_LARGEST_FLOOR = 0.5
_RIDGE = 1e-3  # on standardised weights, in nats per pair


class PairedPosteriors(NamedTuple):
    """Posteriors of the same galaxies in two surveys, row by row; all (n, latents) arrays."""

    anchor_mean: np.ndarray
    anchor_variance: np.ndarray
    target_mean: np.ndarray
    target_variance: np.ndarray

    def take(self, rows: np.ndarray) -> PairedPosteriors:
        """Return the galaxies of some rows."""
        return PairedPosteriors(*(values[rows] for values in self))


def match_probability_record(
    held: PairedImages, network: Encoder, *, wrong_share: float = 0.0, seed: int = 0
) -> dict[str, Any]:
    """Fit the match probability of one survey's encoder, and measure its calibration.

    `held` are pairs that the network, with calibrated variances, was not fitted to. Returns
    ``model`` (a `galaxy_da.models.match_probability.MatchProbability`), ``pairs``, and
    ``cross_validated``: Brier score, calibration error and reliability by cross-validation.
    """
    galaxy = held.space.galaxy_latents
    values = held.mean, held.variance, *held.encode(network)
    posteriors = PairedPosteriors(*(x[:, :galaxy].double().numpy() for x in values))
    rng = np.random.default_rng(seed)
    posteriors = posteriors.take(rng.permutation(len(held))[:MOST_PAIRS])
    model = fit_match_probability(posteriors, wrong_share=wrong_share, seed=seed)
    return {
        "model": model.model_dump(mode="json"),
        "pairs": len(posteriors.anchor_mean),
        "cross_validated": calibration(cross_validated_trials(posteriors, wrong_share, seed)),
    }


def fit_match_probability(
    posteriors: PairedPosteriors, *, wrong_share: float = 0.0, seed: int = 0
) -> MatchProbability:
    """Fit the likelihood ratio on posteriors of at least `FEWEST_PAIRS` galaxies.

    `wrong_share` is the share of wrong matches among the pairs, as measured by a crossmatch.
    Further pairs with different images count as true pairs with uninformative images.
    """
    n = len(posteriors.anchor_mean)
    if n < FEWEST_PAIRS:
        raise ValueError(f"the match probability needs at least {FEWEST_PAIRS} pairs but has {n}")
    if not 0 <= wrong_share < 1:
        raise ValueError(f"wrong_share must be in [0, 1) but is {wrong_share}")
    population = _population(posteriors)
    target, anchor, weight = draw_different_pairs(posteriors, seed)
    own = np.arange(n)
    target, anchor = np.concatenate([own, target]), np.concatenate([own, anchor])
    weight, same = np.concatenate([np.ones(n), weight]), np.arange(len(target)) < n
    x = statistics(
        population,
        posteriors.anchor_mean[anchor],
        posteriors.anchor_variance[anchor],
        posteriors.target_mean[target],
        posteriors.target_variance[target],
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


def cross_validated_trials(
    posteriors: PairedPosteriors, wrong_share: float = 0.0, seed: int = 0
) -> Trials:
    """State match probabilities of every galaxy by a fit without it."""
    n = len(posteriors.anchor_mean)
    parts = []
    for fold in range(_FOLDS):
        in_fold = np.arange(n) % _FOLDS == fold
        model = fit_match_probability(posteriors.take(~in_fold), wrong_share=wrong_share, seed=seed)
        queries = posteriors.target_mean[in_fold], posteriors.target_variance[in_fold]
        pool = posteriors.anchor_mean, posteriors.anchor_variance
        parts.append(match_trials(model, queries, pool, np.flatnonzero(in_fold), seed))
    joined = {task: zip(*(part[task] for part in parts), strict=True) for task in parts[0]}
    return {task: (np.concatenate(p), np.concatenate(truth)) for task, (p, truth) in joined.items()}


def draw_different_pairs(
    posteriors: PairedPosteriors, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw pairs of different galaxies: rows of targets and of anchors, and weights.

    The nearest anchors of each target are all included; a sample of the rest is drawn. The weights
    represent all such pairs.
    """
    n = len(posteriors.anchor_mean)
    distance = cdist(posteriors.target_mean, posteriors.anchor_mean)
    np.fill_diagonal(distance, -1)
    order = np.argsort(distance, axis=1)[:, 1:]
    near = min(_LOOKALIKES, n - 2)
    drawn = np.random.default_rng(seed).integers(near, n - 1, (n, _OTHERS))
    anchor = np.hstack([order[:, :near], np.take_along_axis(order, drawn, axis=1)])
    weight = np.repeat([1.0, (n - 1 - near) / _OTHERS], [near, _OTHERS])
    return np.repeat(np.arange(n), anchor.shape[1]), anchor.ravel(), np.tile(weight, n)


def _population(posteriors: PairedPosteriors) -> Population:
    total = posteriors.anchor_mean.var(0)
    own = np.maximum(total - posteriors.anchor_variance.mean(0), 0.1 * total)
    return Population(
        mean=tuple(posteriors.anchor_mean.mean(0).tolist()), variance=tuple(own.tolist())
    )


def _regress(
    x: np.ndarray, same: np.ndarray, weight: np.ndarray, prior: float, least: float
) -> tuple[float, tuple[float, float, float], float]:
    """Logistic regression with a floor under the likelihood ratio: intercept, weights, floor.

    `prior` is the log odds of true pairs. The floor makes the fit robust to true pairs with
    different images (Copas 1988, J. R. Stat. Soc. B 50, 225). Signs are bounded, so that closer
    pairs are never less probable.
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
