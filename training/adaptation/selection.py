"""Selection of the best candidate of an adaptation, by pairs that it was not fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from galaxy_da.models.networks import Encoder
from training.adaptation.candidates import UNADAPTED, EncodedPairs, closed_form_candidates

__all__ = ["FOLDS", "best_candidate", "cross_validate", "rank_candidates", "selection_record"]

FOLDS = 5
"""Folds of the cross-validation."""


def rank_candidates(
    bases: Mapping[str, EncodedPairs],
    held_out: Mapping[str, EncodedPairs],
    others: Tensor | None = None,
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
    bases: Mapping[str, EncodedPairs], others: Tensor | None = None
) -> dict[str, np.ndarray]:
    """Rank each pair by closed forms that were fitted without it.

    The pool holds all pairs and `others`, as in `rank_candidates`.
    """
    n = len(bases[UNADAPTED])
    ranks = {name: np.zeros(n) for name in closed_form_candidates(bases)}
    for fold in range(FOLDS):
        in_fold = np.arange(n) % FOLDS == fold
        fitted, held = (
            {name: base.take(np.flatnonzero(rows)) for name, base in bases.items()}
            for rows in (~in_fold, in_fold)
        )
        for name, fold_ranks in rank_candidates(fitted, held, others)[1].items():
            ranks[name][in_fold] = fold_ranks
    return ranks


def best_candidate(ranks: Mapping[str, np.ndarray], than: str = UNADAPTED) -> str:
    """Name the candidate with the highest mean reciprocal rank, if its gain exceeds its error.

    `ranks` are (n,) inverse ranks of the same pairs by name. The error is the standard error of the
    gain over the candidate `than`, which is otherwise returned.
    """
    best = max(ranks, key=lambda name: float(ranks[name].mean()))
    gain = ranks[best] - ranks[than]
    return best if gain.mean() > gain.std() / np.sqrt(len(gain)) else than


def selection_record(
    judged_by: str, chosen: str, ranks: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Return the record of all candidates' scores and of the chosen one."""
    return {
        "judged_by": judged_by,
        "chosen": chosen,
        "candidates": [_scores(name, ranks) for name in ranks],
    }


def _scores(name: str, ranks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    gain = ranks[name] - ranks[UNADAPTED]
    return {
        "name": name,
        "mean_reciprocal_rank": float(ranks[name].mean()),
        "recall_at_1": float((ranks[name] == 1).mean()),
        "gain": float(gain.mean()),
        "gain_error": float(gain.std() / np.sqrt(len(gain))),
    }
