"""Predict labels from latents by random forests, cross-validated, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy_healpix import lonlat_to_healpix
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, cross_val_predict

from benchmarks.anchor.questions import Question

__all__ = ["Answer", "Score", "answer", "sky_groups"]

_TREES, _FOLDS, _LEAF = 100, 5, 2
_FEWEST = 40
_NSIDE = 64  # as `catalogs.splits.sky_split`
_BOOTSTRAPS = 1000


@dataclass(frozen=True, kw_only=True)
class Score:
    """Score of predictions for held-out galaxies, with a 95% interval over galaxies.

    Attributes
    ----------
    value, low, high : float
        Share of right predictions, or R² of a quantity.
    balanced : float
        Share of right predictions, averaged over classes; NaN for a quantity.
    """

    value: float
    low: float
    high: float
    balanced: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Predictions of one label from several sets of latents.

    Attributes
    ----------
    question : str
        Name of the label.
    galaxies : int
        Number of galaxies with a label.
    counts : dict of str to int
        Galaxies of each class; empty for a quantity.
    base : float
        Score of always predicting the most common class, or the mean: 0.
    scores : dict of str to Score
        Scores by set of latents.
    """

    question: str
    galaxies: int
    counts: Mapping[str, int]
    base: float
    scores: Mapping[str, Score]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, None for those that do not apply."""
        scores = {
            name: {k: None if v != v else v for k, v in asdict(score).items()}
            for name, score in self.scores.items()
        }
        return {
            "question": self.question,
            "galaxies": self.galaxies,
            "counts": dict(self.counts),
            "base": self.base,
            "scores": scores,
        }


def answer(
    question: Question, latents: Mapping[str, np.ndarray], groups: np.ndarray, seed: int = 0
) -> Answer | None:
    """Predict one label from several sets of latents, with five-fold cross-validation.

    Parameters
    ----------
    question : Question
        Label with the values of n galaxies.
    latents : dict of str to (n, latents) float array
        Inputs of the forests.
    groups : (n,) int array
        Groups that stay on one side of a fold, as from `sky_groups`.
    seed : int
        Seed of forests, folds and bootstrap.

    Returns
    -------
    Answer or None
        None if fewer than 40 galaxies have a label, all labels are equal, or there are fewer groups
        than folds.

    References
    ----------
    Breiman 2001, Machine Learning 45, 5.
    """
    if question.classes is not None:
        known = np.array([value is not None for value in question.classes])
        truth = np.array([str(value) for value in question.classes[known]])
    else:
        assert question.targets is not None
        known = np.isfinite(question.targets).all(1)
        truth = question.targets[known]
    equal = len(np.unique(truth, axis=0)) < 2 if len(truth) else True
    if known.sum() < _FEWEST or equal or len(np.unique(groups[known])) < _FOLDS:
        return None
    is_class = question.classes is not None
    score = _score_classes if is_class else _score_values
    counts = dict(sorted(Counter(truth.tolist()).items())) if is_class else {}
    return Answer(
        question=question.name,
        galaxies=int(known.sum()),
        counts=counts,
        base=max(counts.values()) / len(truth) if counts else 0.0,
        scores={
            name: score(values[known], truth, groups[known], seed)
            for name, values in latents.items()
            if values.shape[1]
        },
    )


def sky_groups(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, bool]:
    """Group galaxies by sky cell, or each alone if they lie in too few cells.

    Parameters
    ----------
    ra, dec : (n,) float arrays
        ICRS [deg].

    Returns
    -------
    groups : (n,) int array
    by_sky : bool
        True if the groups are sky cells.
    """
    cells = np.asarray(lonlat_to_healpix(ra * u.deg, dec * u.deg, _NSIDE, order="nested"))
    if len(np.unique(cells)) >= 2 * _FOLDS:
        return cells, True
    return np.arange(len(ra)), False


def _score_classes(latents: np.ndarray, truth: np.ndarray, groups: np.ndarray, seed: int) -> Score:
    forest = RandomForestClassifier(
        _TREES, min_samples_leaf=_LEAF, class_weight="balanced", random_state=seed
    )
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(forest, latents, truth, groups=groups, cv=folds)
    right = predicted == truth
    drawn = right[_resampled(len(right), seed)].mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Score(
        value=float(right.mean()),
        low=float(low),
        high=float(high),
        balanced=float(balanced_accuracy_score(truth, predicted)),
    )


def _score_values(latents: np.ndarray, truth: np.ndarray, groups: np.ndarray, seed: int) -> Score:
    forest = RandomForestRegressor(
        _TREES, min_samples_leaf=_LEAF, max_features=1 / 3, random_state=seed
    )
    folds = GroupKFold(_FOLDS, shuffle=True, random_state=seed)
    target = truth if truth.shape[1] > 1 else truth[:, 0]
    predicted = cross_val_predict(forest, latents, target, groups=groups, cv=folds)
    error = np.square(predicted.reshape(truth.shape) - truth).sum(1)
    spread = np.square(truth - truth.mean(0)).sum(1)
    rows = _resampled(len(truth), seed)
    low, high = np.quantile(1 - error[rows].sum(1) / spread[rows].sum(1), [0.025, 0.975])
    value = 1 - error.sum() / spread.sum()
    return Score(value=float(value), low=float(low), high=float(high), balanced=float("nan"))


def _resampled(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(n, size=(_BOOTSTRAPS, n))
