"""Selection of the best candidate of an adaptation, on data that it was not fitted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from galaxy_da.models.networks import Encoder
from training.adaptation.candidates import BY_DEFINITION, EncodedPairs, closed_form_candidates

__all__ = ["FOLDS", "best_candidate", "cross_validate", "rank_candidates", "selection_record"]

FOLDS = 5
"""Folds of the cross-validation."""

Bases = Mapping[str, EncodedPairs]
"""The same pairs, encoded by several networks."""


def rank_candidates(
    bases: Bases, held_out: Bases, others: Tensor | None = None
) -> tuple[dict[str, Encoder], dict[str, np.ndarray]]:
    """Fit every closed form, and rank the held-out pairs among all pairs and other galaxies.

    `bases` and `held_out` are the same networks' pairs to fit and held out; `others`, (m, latents),
    are more galaxies of the anchor for the pool. Returns each candidate's network, and the inverse
    ranks of its held-out pairs.
    """
    networks, ranks = {}, {}
    for name, candidate in closed_form_candidates(bases).items():
        held, pool = held_out[candidate.base], candidate.pairs.pairs.mean
        if others is not None:
            pool = torch.cat([pool, others])
        networks[name] = candidate.network
        ranks[name] = held.pairs.reciprocal_ranks(held.encode(networks[name]), pool)
    return networks, ranks


def cross_validate(
    pairs: EncodedPairs,
    encode: Callable[[EncodedPairs, EncodedPairs], tuple[Bases, Bases]],
    others: Tensor | None = None,
) -> dict[str, np.ndarray]:
    """Rank each pair by candidates that were fitted without it.

    `encode` fits networks to the first pairs, and encodes the first and the second by each. The
    pool holds all pairs and `others`, as in `rank_candidates`.
    """
    n = len(pairs)
    ranks: dict[str, np.ndarray] = {}
    for fold in range(FOLDS):
        in_fold = np.arange(n) % FOLDS == fold
        fitted, held = (pairs.take(np.flatnonzero(rows)) for rows in (~in_fold, in_fold))
        for name, found in rank_candidates(*encode(fitted, held), others)[1].items():
            ranks.setdefault(name, np.zeros(n))[in_fold] = found
    return ranks


def best_candidate(scores: Mapping[str, np.ndarray]) -> str:
    """Name the candidate with the highest mean score, if its gain exceeds its error.

    `scores` are (n,) values on the same data by name. The error is the standard error of the gain
    over the survey's definition, which is otherwise returned.
    """
    best = max(scores, key=lambda name: float(scores[name].mean()))
    gain, error = _gain(best, scores)
    return best if gain > error else BY_DEFINITION


def selection_record(
    judged_by: str,
    chosen: str,
    scores: Mapping[str, np.ndarray],
    measure: str = "mean_reciprocal_rank",
) -> dict[str, Any]:
    """Return the record of all candidates' mean scores, of the chosen one, and of its gain."""
    gain, error = _gain(chosen, scores)
    return {
        "judged_by": judged_by,
        "chosen": chosen,
        "gain": gain,
        "gain_error": error,
        "candidates": [
            {"name": name, measure: abs(float(scores[name].mean()))}
            | dict(zip(("gain", "gain_error"), _gain(name, scores), strict=True))
            for name in scores
        ],
    }


def _gain(name: str, scores: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Mean gain over the survey's definition, and its standard error."""
    gain = scores[name] - scores[BY_DEFINITION]
    return float(gain.mean()), float(gain.std() / np.sqrt(len(gain)))
