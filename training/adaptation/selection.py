"""Which candidate of an adaptation is best, by pairs that it was not fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from galaxy_da.models.networks import Encoder
from training.adaptation.candidates import UNADAPTED, Training, closed_forms

__all__ = ["FOLDS", "best_of", "cross_validated", "judged", "verdict"]

FOLDS = 5
"""Of the cross-validation."""


def judged(
    bases: Mapping[str, Training], seen: Mapping[str, Training], others: Tensor | None = None
) -> tuple[dict[str, Encoder], dict[str, np.ndarray]]:
    """Fit every closed form and rank the held-out pairs, among all pairs and other galaxies.

    Parameters
    ----------
    bases, seen : dict of str to Training
        The pairs to fit, and those held out, as the same networks see them.
    others : (m, latents) float tensor, optional
        The anchor's latents of more galaxies to choose from.

    Returns
    -------
    networks : dict of str to Encoder
        What each form comes to.
    ranks : dict of str to (n,) float array
        Inverse ranks of the held-out pairs; see `PairedImages.reciprocal_ranks`.
    """
    networks, ranks = {}, {}
    for name, form in closed_forms(bases).items():
        held, pool = seen[form.base], form.training.pairs.mean
        if others is not None:
            pool = torch.cat([pool, others])
        networks[name] = form.network
        ranks[name] = held.pairs.reciprocal_ranks(held.encode(networks[name]), pool)
    return networks, ranks


def cross_validated(
    bases: Mapping[str, Training], others: Tensor | None = None
) -> dict[str, np.ndarray]:
    """Rank each pair by closed forms that were fitted without it.

    Each galaxy is looked for among all of them, and `others` as in `judged`.
    """
    n = len(bases[UNADAPTED])
    ranks = {name: np.zeros(n) for name in closed_forms(bases)}
    for fold in range(FOLDS):
        fitted, unseen = (np.flatnonzero((np.arange(n) % FOLDS == fold) == own) for own in (0, 1))
        some, held = (
            {name: base.take(rows) for name, base in bases.items()} for rows in (fitted, unseen)
        )
        for name, found in judged(some, held, others)[1].items():
            ranks[name][unseen] = found
    return ranks


def best_of(ranks: Mapping[str, np.ndarray], than: str = UNADAPTED) -> str:
    """Name the candidate with the highest mean reciprocal rank, if it beats another.

    Parameters
    ----------
    ranks : dict of str to (n,) float array
        Inverse ranks of the same pairs.
    than : str
        What to do unless there is a gain that exceeds its own standard error; nothing by default.
    """
    best = max(ranks, key=lambda name: float(ranks[name].mean()))
    gain = ranks[best] - ranks[than]
    return best if gain.mean() > gain.std() / np.sqrt(len(gain)) else than


def verdict(judged_by: str, chosen: str, ranks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Say what was tried and what won."""
    return {
        "judged_by": judged_by,
        "chosen": chosen,
        "candidates": [_line(name, ranks) for name in ranks],
    }


def _line(name: str, ranks: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Say what one candidate scored."""
    gain = ranks[name] - ranks[UNADAPTED]
    return {
        "name": name,
        "mean_reciprocal_rank": float(ranks[name].mean()),
        "recall_at_1": float((ranks[name] == 1).mean()),
        "gain": float(gain.mean()),
        "gain_error": float(gain.std() / np.sqrt(len(gain))),
    }
