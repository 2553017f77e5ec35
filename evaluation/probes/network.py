"""Network of a probe, fitted by scikit-learn; its weights are returned as arrays."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor

from galaxy_da.errors import CatalogError
from galaxy_da.models.probes import Link

__all__ = ["ProbeNetwork"]

_HIDDEN = 128
_STEPS, _BATCH = 3000, 200
_TRIAL_STEPS = 1000  # enough to compare penalties
_PENALTIES = (0.3, 3.0, 30.0)
_FOLDS = 3
_SPARSE = 4  # every fourth symmetry serves to choose the penalty


class ProbeNetwork:
    """One hidden layer from standardised latents to the input of a link."""

    def __init__(self, link: Link, seed: int) -> None:
        self.link, self.seed = link, seed

    def choose(self, x: np.ndarray, y: np.ndarray, cell: np.ndarray) -> float:
        """Return the weight penalty with the smallest loss on held-out cells."""
        folds = min(_FOLDS, len(np.unique(cell)))
        if folds < 2:
            raise CatalogError(
                "all galaxies lie in one cell of the sky; cross-validation needs a larger area"
            )
        losses = np.zeros(len(_PENALTIES))
        for fitted, held_out in GroupKFold(folds).split(x[0], groups=cell):
            for i, penalty in enumerate(_PENALTIES):
                part = x[::_SPARSE, fitted], y[::_SPARSE, fitted]
                layers = self.fit(*part, penalty, steps=_TRIAL_STEPS)
                predicted = _forward(x[0][held_out], *layers)
                losses[i] += self._loss(predicted, y[0][held_out]) * len(held_out)
        return _PENALTIES[int(losses.argmin())]

    def fit(
        self, x: np.ndarray, y: np.ndarray, penalty: float, *, steps: int | None = None
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return weights and biases.

        `x` is (symmetries, n, latents) and `y` (symmetries, n, k).
        """
        steps = steps or _STEPS
        flat, goal = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
        settings: dict[str, Any] = {
            "hidden_layer_sizes": (_HIDDEN,),
            "activation": "tanh",
            "alpha": penalty,
            "batch_size": min(_BATCH, len(flat)),
            "max_iter": -(-steps * _BATCH // len(flat)),
            "n_iter_no_change": steps,  # so that the fit ends after that many steps
            "random_state": self.seed,
        }
        if self.link == "logistic":
            return _fit_votes(MLPClassifier(**settings), flat, goal[:, 0])
        middle, scale = goal.mean(0), goal.std()
        standard = (goal - middle) / scale
        model = MLPRegressor(**settings)
        _run(model, flat, standard if standard.shape[1] > 1 else standard[:, 0])
        *weights, last = model.coefs_
        *biases, offset = model.intercepts_
        return [*weights, last * scale], [*biases, offset * scale + middle]

    def _loss(self, output: np.ndarray, goal: np.ndarray) -> float:
        if self.link == "logistic":
            return float((np.logaddexp(0, output) - goal * output).mean())
        return float(np.square(output - goal).mean())


def _fit_votes(
    model: MLPClassifier, x: np.ndarray, share: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Fit to shares of votes: each galaxy enters as a yes and as a no, weighted by its votes."""
    if np.isin(share, (0, 1)).all():
        _run(model, x, share > 0.5)
    else:
        answers = np.repeat([True, False], len(x))
        _run(model, np.concatenate([x, x]), answers, np.concatenate([share, 1 - share]))
    return list(model.coefs_), list(model.intercepts_)


def _run(model: Any, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> None:
    """Fit for a fixed number of epochs, which is no failure to converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y, sample_weight=weight)


def _forward(x: np.ndarray, weights: list[np.ndarray], biases: list[np.ndarray]) -> np.ndarray:
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = np.tanh(x @ weight + bias)
    return np.asarray(x @ weights[-1] + biases[-1])
