"""Calibration of match probabilities: test pairs whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics import brier_score_loss

from evaluation.calibration import expected_calibration_error, reliability
from galaxy_da.models.match_probability import MatchProbability, probability

LOOKALIKES = 10
"""Nearest galaxies of the pool that each query is compared with."""

_BINS = 10

Trials = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""By kind of pairs: (n,) stated probabilities, and (n,) bool, true for the same galaxy."""


def match_trials(
    model: MatchProbability,
    queries: tuple[np.ndarray, np.ndarray],
    pool: tuple[np.ndarray, np.ndarray],
    own: np.ndarray,
    seed: int = 0,
) -> Trials:
    """State match probabilities for pairs whose truth is known.

    `queries` and `pool` are means and variances, (n, latents) and (m, latents); `own` is each
    query's row in the pool. Returns probability and truth of ``random`` trials, each query with its
    own galaxy and with another one at prior 1/2, and of ``lookalikes``, the `LOOKALIKES` nearest at
    prior 1/m.
    """
    n, m = len(queries[0]), len(pool[0])
    if m < 2:
        raise ValueError(f"the pool must hold at least two galaxies but holds {m}")
    other = (own + np.random.default_rng(seed).integers(1, m, n)) % m
    k = min(LOOKALIKES, m)
    near = np.argpartition(cdist(queries[0], pool[0]), k - 1, axis=1)[:, :k].ravel()
    tasks = {
        "random": (np.tile(np.arange(n), 2), np.concatenate([own, other]), 0.5),
        "lookalikes": (np.repeat(np.arange(n), k), near, 1 / m),
    }
    trials = {}
    for name, (query, row, prior) in tasks.items():
        ratio = model.log_ratio(queries[0][query], queries[1][query], pool[0][row], pool[1][row])
        trials[name] = probability(ratio, prior), row == own[query]
    return trials


def calibration(trials: Trials) -> dict[str, dict[str, Any]]:
    """Summarise trials: ``n``, ``share_same``, ``brier``, ``ece`` and the reliability curve.

    ``brier_constant`` is the Brier score of a constant probability, ``share_same``.
    """
    summary = {}
    for name, (stated, same) in trials.items():
        curve = reliability(stated, same, _BINS)
        summary[name] = {
            "n": len(same),
            "share_same": float(same.mean()),
            "brier": float(brier_score_loss(same, stated)),
            "brier_constant": float(same.mean() * (1 - same.mean())),
            "ece": expected_calibration_error(stated, same, _BINS),
            "reliability": {key: values.tolist() for key, values in curve.items()},
        }
    return summary
