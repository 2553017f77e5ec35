"""Selection of the best candidate of an adaptation, on data that it was not fitted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from galaxy_da.models.networks import Encoder
from training.adaptation.candidates import BY_DEFINITION, with_maps
from training.adaptation.images import PairedImages
from training.losses import mmd

FOLDS = 5
"""Folds of the cross-validation."""


def rank_candidates(
    candidates: Mapping[str, Encoder], held: PairedImages, others: Tensor
) -> dict[str, np.ndarray]:
    """Return each candidate's inverse ranks of held-out pairs, in a pool with (m, latents) others.

    The pool holds the anchor's images.
    """
    return {
        name: held.reciprocal_ranks(held.encode(network).mean, others)
        for name, network in candidates.items()
    }


def cross_validate(
    pairs: PairedImages,
    networks_of: Callable[[PairedImages], Mapping[str, Encoder]],
    others: Tensor | None = None,
) -> dict[str, np.ndarray]:
    """Rank each pair by candidates that were fitted without it.

    `networks_of` fits networks to some pairs. The pool holds all pairs and `others`.
    """
    n = len(pairs)
    ranks: dict[str, np.ndarray] = {}
    for fold in range(FOLDS):
        in_fold = np.arange(n) % FOLDS == fold
        fitted, held = (pairs.take(np.flatnonzero(rows)) for rows in (~in_fold, in_fold))
        pool = fitted.mean if others is None else torch.cat([fitted.mean, others])
        candidates = with_maps(networks_of(fitted), fitted)
        for name, found in rank_candidates(candidates, held, pool).items():
            ranks.setdefault(name, np.zeros(n))[in_fold] = found
    return ranks


def distance_to_anchor(network: Encoder, held: PairedImages, galaxy_latents: int) -> float:
    """Return the MMD of a network's galaxy latents of held-out pairs to the anchor's."""
    galaxy = slice(galaxy_latents)
    return float(mmd(held.encode(network).mean[:, galaxy], held.mean[:, galaxy]))


def closest_of_the_best(
    scores: Mapping[str, np.ndarray], distance_of: Callable[[str], float]
) -> str:
    """Name the candidate closest to the anchor among those as good as the best.

    `scores` are (n,) values on the same data by name, and `distance_of` a candidate is that to the
    anchor. A candidate is as good as the best if its mean score is lower by at most half of a
    typical standard error, the median of those of all such differences.
    """
    best = scores[max(scores, key=lambda name: float(scores[name].mean()))]
    losses = {name: best - values for name, values in scores.items()}
    tolerated = 0.5 * np.median([loss.std() / np.sqrt(len(loss)) for loss in losses.values()])
    equal = [name for name, loss in losses.items() if loss.mean() <= tolerated]
    return min(equal, key=distance_of)


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
    candidates = []
    for name, values in scores.items():
        gain, error = _gain(name, scores)
        score = abs(float(values.mean()))
        candidates.append({"name": name, measure: score, "gain": gain, "gain_error": error})
    gain, error = _gain(chosen, scores)
    return {
        "judged_by": judged_by,
        "chosen": chosen,
        "gain": gain,
        "gain_error": error,
        "candidates": candidates,
    }


def _gain(name: str, scores: Mapping[str, np.ndarray]) -> tuple[float, float]:
    gain = scores[name] - scores[BY_DEFINITION]
    return float(gain.mean()), float(gain.std() / np.sqrt(len(gain)))
