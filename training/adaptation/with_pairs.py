"""Adaptation with pairs: choice of the best candidate, and its last fit.

With enough pairs, held-out ones choose. A closed form that wins is fitted again with the held-out
pairs. Few pairs are cross-validated, and nothing is trained on them. Their winner has to beat the
best candidate without pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from galaxy_da.models.networks import Encoder
from training.adaptation.candidates import (
    DEGRADED,
    FINE_TUNED,
    SMOOTHED,
    UNADAPTED,
    UNPAIRED,
    calibrate_variances,
    closed_form_candidates,
    encode_by_networks,
)
from training.adaptation.decisions import Decisions
from training.adaptation.fine_tuning import fine_tune
from training.adaptation.images import PairedImages
from training.adaptation.match_probability import match_probability_record
from training.adaptation.selection import (
    FOLDS,
    best_candidate,
    cross_validate,
    rank_candidates,
    selection_record,
)
from training.adaptation.settings import AdaptSettings
from training.adaptation.unpaired import UnpairedImages, adapt_without_pairs
from training.adaptation.wrong_pairs import likely_pairs
from training.parallel.processes import agreed

__all__ = ["adapt_with_few_pairs", "adapt_with_pairs"]


def adapt_with_few_pairs(
    pairs: PairedImages,
    images: UnpairedImages | None,
    others: Tensor | None,
    settings: AdaptSettings,
) -> tuple[Encoder, dict[str, Any]]:
    """Choose a candidate by cross-validation on all pairs, and record the choice.

    `images` give the best candidate without pairs. `others` are the anchor's (m, latents) of more
    galaxies for the pool; a search among few pairs is too easy.
    """
    known = {} if images is None else {UNPAIRED: adapt_without_pairs(images, settings)[0]}
    bases = encode_by_networks(pairs, known)
    ranks = cross_validate(bases, others)
    chosen = agreed(best_candidate(ranks, than=UNPAIRED if known else UNADAPTED))
    record = selection_record(f"{FOLDS}-fold", chosen, ranks) | {
        "pairs": {"train": len(pairs), "left_out": 0, "validation": len(pairs)}
    }
    return calibrate_variances(closed_form_candidates(bases)[chosen].network, pairs), record


def adapt_with_pairs(
    train: PairedImages,
    held: PairedImages,
    images: UnpairedImages | None,
    settings: AdaptSettings,
    wrong_share: float = 0.0,
) -> tuple[Encoder, dict[str, Any]]:
    """Choose a candidate on held-out pairs, after training on the others; record the choice.

    `images` give the candidate that is trained without pairs. `wrong_share` is the share of wrong
    matches among the pairs; see `training.adaptation.match_probability.fit_match_probability`.
    """
    decisions, seed = Decisions(settings), settings.seed
    degraded: dict[str, Encoder] = {}
    if images is not None and images.degradable:
        degraded[DEGRADED], _ = images.train_degraded(settings)
    bases, held_out = (encode_by_networks(pairs, degraded) for pairs in (train, held))
    networks, ranks = rank_candidates(bases, held_out)
    likely = decisions.kept(
        "likely_pairs", lambda: likely_pairs(train, networks[best_candidate(ranks)], seed).tolist()
    )
    if len(likely) < len(train):
        bases = {name: pairs.take(np.asarray(likely)) for name, pairs in bases.items()}
        networks, ranks = rank_candidates(bases, held_out)
    training = bases[UNADAPTED]
    start = decisions.kept("start", lambda: best_candidate(_starts(ranks, bool(degraded))))
    fine_tuned, curves = fine_tune(
        networks[start],
        training,
        held,
        settings,
        degrade=images.match if images is not None and degraded else None,
    )
    bases[FINE_TUNED], held_out[FINE_TUNED] = (
        pairs[UNADAPTED].of_network(fine_tuned) for pairs in (bases, held_out)
    )
    last = rank_candidates({FINE_TUNED: bases[FINE_TUNED]}, held_out)
    networks, ranks = networks | last[0], ranks | last[1]
    chosen = agreed(best_candidate(ranks))
    network = calibrate_variances(networks[chosen], held)
    record = selection_record("validation pairs", chosen, ranks) | {
        "fine_tuned_from": start,
        "curves": curves,
        "settings": settings.fine_tuning.model_dump(),
        "pairs": {
            "train": len(training),
            "left_out": len(train) - len(training),
            "validation": len(held),
        },
        "match_probability": match_probability_record(
            held, network, wrong_share=wrong_share, seed=seed
        ),
    }
    if chosen in bases:
        return network, record
    candidate = closed_form_candidates(bases)[chosen]
    more = held_out[candidate.base].take(agreed(likely_pairs(held, networks[chosen], seed)))
    record["pairs"]["fitted_at_last"] = len(training) + len(more)
    return _with_variance_of(network, candidate.fit(candidate.pairs.extended(more))), record


def _starts(ranks: dict[str, np.ndarray], degraded: bool) -> dict[str, np.ndarray]:
    """Return the candidates that training may start from.

    Degraded images have the anchor's PSF or a wider one. A network that smooths its images would
    smooth them again.
    """
    return {
        name: values
        for name, values in ranks.items()
        if not (degraded and name.startswith(SMOOTHED))
    }


def _with_variance_of(other: Encoder, network: Encoder) -> Encoder:
    """Give a network the variances of another, which were calibrated on unseen pairs."""
    network.log_variance.load_state_dict(other.log_variance.state_dict())
    return network
