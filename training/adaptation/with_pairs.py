"""Adaptation with pairs: choice of the best candidate, and its last fit.

With enough pairs, held-out ones choose: of the candidates that find them as well as the best, the
one whose latents are closest to the anchor's, so that distances between surveys are on one scale. A
map that wins is fitted again with the held-out pairs. Few pairs are cross-validated, and no weights
are trained on them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from galaxy_da.models.networks import Encoder
from training.adaptation.candidates import (
    BY_DEFINITION,
    FINE_TUNED,
    INSTRUMENT,
    UNPAIRED,
    calibrate_variances,
    with_maps,
)
from training.adaptation.decisions import Decisions
from training.adaptation.fine_tuning import fine_tune
from training.adaptation.images import PairedImages
from training.adaptation.instrument import corrected, fit_to_pairs, instrument_record
from training.adaptation.match_probability import match_probability_record
from training.adaptation.selection import (
    FOLDS,
    best_candidate,
    closest_of_the_best,
    cross_validate,
    distance_to_anchor,
    rank_candidates,
    selection_record,
)
from training.adaptation.settings import AdaptSettings
from training.adaptation.unpaired import UnpairedImages, adapt_without_pairs
from training.adaptation.wrong_pairs import likely_pairs
from training.parallel.processes import agreed

_MOST_LEFT_OUT = 0.2  # share of the training pairs without a warning; right ones lose a few percent


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
    space, start = pairs.space, pairs.encoder.network
    known, warnings = {BY_DEFINITION: start}, []
    if images is not None:
        network, unpaired = adapt_without_pairs(images, settings)
        warnings = unpaired["warnings"]
        if unpaired["chosen"] != BY_DEFINITION:
            known[UNPAIRED] = network

    def networks_of(some: PairedImages) -> dict[str, Encoder]:
        return known | {INSTRUMENT: corrected(space, start, fit_to_pairs(some))}

    ranks = cross_validate(pairs, networks_of, others)
    chosen = agreed(best_candidate(ranks))
    numbers = fit_to_pairs(pairs)
    networks = known | {INSTRUMENT: corrected(space, start, numbers)}
    record = selection_record(f"{FOLDS}-fold", chosen, ranks) | {
        "instrument": instrument_record(space, pairs.encoder, numbers),
        "pairs": {"train": len(pairs), "left_out": 0, "validation": len(pairs)},
        "warnings": warnings,
    }
    return calibrate_variances(with_maps(networks, pairs)[chosen], pairs), record


def adapt_with_pairs(
    pairs: PairedImages, held: PairedImages, settings: AdaptSettings, wrong_share: float = 0.0
) -> tuple[Encoder, dict[str, Any]]:
    """Choose a candidate on held-out pairs, after training on the others; record the choice.

    `wrong_share` is the share of wrong matches among the pairs; see
    `training.adaptation.match_probability.fit_match_probability`.
    """
    decisions, seed, space = Decisions(settings), settings.seed, pairs.space
    networks = {BY_DEFINITION: pairs.encoder.network}

    def likely() -> list[int]:
        candidates = with_maps(networks, pairs)
        best = best_candidate(rank_candidates(candidates, held, pairs.mean))
        rows: list[int] = likely_pairs(pairs, candidates[best], seed).tolist()
        return rows

    train = pairs.take(np.asarray(decisions.kept("likely_pairs", likely)))
    numbers = decisions.kept("instrument", lambda: fit_to_pairs(train))
    networks[INSTRUMENT] = corrected(space, pairs.encoder.network, numbers)
    candidates = with_maps(networks, train)
    ranks = rank_candidates(candidates, held, train.mean)
    start = decisions.kept("start", lambda: best_candidate(ranks))
    networks[FINE_TUNED], curves = fine_tune(candidates[start], train, held, settings)
    last = with_maps({FINE_TUNED: networks[FINE_TUNED]}, train)
    candidates |= last
    ranks |= rank_candidates(last, held, train.mean)

    def distance_of(name: str) -> float:
        return distance_to_anchor(candidates[name], held, space.galaxy_latents)

    chosen = agreed(closest_of_the_best(ranks, distance_of))
    network = calibrate_variances(candidates[chosen], held)
    more = held.take(agreed(likely_pairs(held, candidates[chosen], seed)))
    record = selection_record("validation pairs", chosen, ranks) | {
        "instrument": instrument_record(space, pairs.encoder, numbers),
        "fine_tuned_from": start,
        "curves": curves,
        "settings": settings.fine_tuning.model_dump(),
        "pairs": {
            "train": len(train),
            "left_out": len(pairs) - len(train),
            "validation": len(held),
            "fitted_at_last": len(train) + (0 if chosen in networks else len(more)),
        },
        "match_probability": match_probability_record(
            held, network, wrong_share=wrong_share, seed=seed
        ),
        "warnings": _doubts(len(pairs) - len(train), len(pairs)),
    }
    if chosen in networks:
        return network, record
    final = with_maps(networks, train.extended(more))[chosen]
    final.log_variance.load_state_dict(network.log_variance.state_dict())  # of unseen pairs
    return final, record


def _doubts(left_out: int, n: int) -> list[str]:
    """Return a warning if more pairs than a fifth were left out."""
    if left_out <= _MOST_LEFT_OUT * n:
        return []
    return [
        f"{left_out} of {n} training pairs look like two different galaxies and were left out; "
        "check the ids and positions of both samples, and match again"
    ]
