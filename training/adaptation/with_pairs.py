"""Adaptation with pairs: choice of the best candidate, and its last fit.

With enough pairs, held-out ones choose. A closed form that wins is fitted again with the held-out
pairs. Few pairs are cross-validated, and no weights are trained on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from galaxy_da.models.networks import Encoder
from training.adaptation.candidates import (
    BY_DEFINITION,
    FINE_TUNED,
    INSTRUMENT,
    UNPAIRED,
    EncodedPairs,
    calibrate_variances,
    closed_form_candidates,
)
from training.adaptation.decisions import Decisions
from training.adaptation.fine_tuning import fine_tune
from training.adaptation.images import PairedImages
from training.adaptation.instrument import corrected, fit_to_pairs, instrument_record
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
    known: dict[str, Encoder] = {}
    unpaired: dict[str, Any] = {"warnings": []}
    if images is not None:
        network, unpaired = adapt_without_pairs(images, settings)
        if unpaired["chosen"] != BY_DEFINITION:
            known[UNPAIRED] = network
    plain = EncodedPairs.of(pairs)

    def with_instrument(
        train: EncodedPairs, held: EncodedPairs
    ) -> tuple[dict[str, EncodedPairs], dict[str, EncodedPairs]]:
        """Fit the instrument to the first pairs, and encode both by every network."""
        fitted = corrected(pairs.space, train.network, fit_to_pairs(train.pairs))
        networks = {INSTRUMENT: fitted, **known}
        return _by_networks(train, networks), _by_networks(held, networks)

    ranks = cross_validate(plain, with_instrument, others)
    chosen = agreed(best_candidate(ranks))
    numbers = agreed(fit_to_pairs(pairs))
    networks = {INSTRUMENT: corrected(pairs.space, plain.network, numbers), **known}
    network = closed_form_candidates(_by_networks(plain, networks))[chosen].network
    record = selection_record(f"{FOLDS}-fold", chosen, ranks) | {
        "instrument": instrument_record(pairs.space, pairs.encoder, numbers),
        "pairs": {"train": len(pairs), "left_out": 0, "validation": len(pairs)},
        "warnings": unpaired["warnings"],
    }
    return calibrate_variances(network, pairs), record


def adapt_with_pairs(
    train: PairedImages, held: PairedImages, settings: AdaptSettings, wrong_share: float = 0.0
) -> tuple[Encoder, dict[str, Any]]:
    """Choose a candidate on held-out pairs, after training on the others; record the choice.

    `wrong_share` is the share of wrong matches among the pairs; see
    `training.adaptation.match_probability.fit_match_probability`.
    """
    decisions, seed = Decisions(settings), settings.seed
    plain, plain_held = EncodedPairs.of(train), EncodedPairs.of(held)
    bases, held_out = {BY_DEFINITION: plain}, {BY_DEFINITION: plain_held}
    networks, ranks = rank_candidates(bases, held_out)
    likely = decisions.kept(
        "likely_pairs", lambda: likely_pairs(train, networks[best_candidate(ranks)], seed).tolist()
    )
    training = plain.take(np.asarray(likely))
    numbers = decisions.kept("instrument", lambda: fit_to_pairs(training.pairs))
    fitted = {INSTRUMENT: corrected(train.space, train.encoder.network, numbers)}
    bases, held_out = _by_networks(training, fitted), _by_networks(plain_held, fitted)
    networks, ranks = rank_candidates(bases, held_out)
    start = decisions.kept("start", lambda: best_candidate(ranks))
    fine_tuned, curves = fine_tune(networks[start], training, held, settings)
    last = {FINE_TUNED: fine_tuned}
    bases |= _by_networks(training, last)
    held_out |= _by_networks(plain_held, last)
    tuned = rank_candidates({FINE_TUNED: bases[FINE_TUNED]}, held_out)
    networks, ranks = networks | tuned[0], ranks | tuned[1]
    chosen = agreed(best_candidate(ranks))
    network = calibrate_variances(networks[chosen], held)
    record = selection_record("validation pairs", chosen, ranks) | {
        "instrument": instrument_record(train.space, train.encoder, numbers),
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
        "warnings": [],
    }
    if chosen in bases:
        return network, record
    candidate = closed_form_candidates(bases)[chosen]
    more = held_out[candidate.base].take(agreed(likely_pairs(held, networks[chosen], seed)))
    record["pairs"]["fitted_at_last"] = len(training) + len(more)
    return _with_variance_of(network, candidate.fit(candidate.pairs.extended(more))), record


def _by_networks(pairs: EncodedPairs, networks: Mapping[str, Encoder]) -> dict[str, EncodedPairs]:
    """Return pairs as they are, by definition, and encoded by other networks."""
    return {BY_DEFINITION: pairs} | {name: pairs.of_network(n) for name, n in networks.items()}


def _with_variance_of(other: Encoder, network: Encoder) -> Encoder:
    """Give a network the variances of another, which were calibrated on unseen pairs."""
    network.log_variance.load_state_dict(other.log_variance.state_dict())
    return network
