"""Candidates of an adaptation: networks, each alone or followed by closed-form maps.

A candidate's name joins its network and its maps by `` + ``, such as
``instrument + ridge-features + covariances``.

=====================  =============================================================================
network
=====================  =============================================================================
``by definition``      the anchor's network, with the survey's definition of its instrument
``instrument``         the same with a fitted instrument (`training.adaptation.instrument`)
``unpaired``           the best network and map without pairs; competes when pairs are few
``fine-tuned``         all weights trained on pairs, from the best other candidate
=====================  =============================================================================

=====================  =============================================================================
map of the latents
=====================  =============================================================================
``moments``            mean and standard deviation of each latent as in the anchor
``covariances``        mean and covariance as in the anchor (optimal transport between Gaussians)
``ridge-to-identity``  ridge regression of the difference between paired latents
``ridge-features``     ridge regression of the anchor's latents on the network's last features
=====================  =============================================================================

`CLOSED_FORMS` holds the maps, `training.adaptation.selection` chooses among the candidates.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from galaxy_da.models.latents import join_latents
from galaxy_da.models.networks import Encoder
from galaxy_da.models.symmetric_outputs import features_by_symmetry, means_by_symmetry
from training.adaptation.closed_form import (
    match_covariances,
    match_moments,
    ridge_from_features,
    ridge_to_identity,
)
from training.adaptation.images import PairedImages
from training.parallel.processes import Share

__all__ = [
    "BY_DEFINITION",
    "CLOSED_FORMS",
    "FINE_TUNED",
    "INSTRUMENT",
    "UNPAIRED",
    "Candidate",
    "EncodedPairs",
    "calibrate_variances",
    "candidate_name",
    "closed_form_candidates",
]

BY_DEFINITION, INSTRUMENT = "by definition", "instrument"
UNPAIRED, FINE_TUNED = "unpaired", "fine-tuned"


@dataclass(frozen=True, kw_only=True)
class EncodedPairs:
    """Pairs in every dihedral symmetry.

    `latents` are the anchor's, (8, n, latents); `features` are the last ones of the target's images
    in the network of `pairs`, (8, n, features).
    """

    pairs: PairedImages
    latents: Tensor
    features: Tensor

    @classmethod
    def of(cls, pairs: PairedImages) -> EncodedPairs:
        """Encode both sides in every symmetry, each process its share of the pairs."""
        space, share = pairs.space, Share.of(len(pairs))
        network = space.encoder(space.anchor).network
        latents = means_by_symmetry(network, pairs.anchor[share.own])
        whole = share.whole(latents, dim=1)
        return cls(pairs=pairs, latents=whole, features=_shared_features(pairs))

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def network(self) -> Encoder:
        """The network of the features, on the CPU."""
        return self.pairs.encoder.network.cpu()

    @property
    def by_symmetry(self) -> tuple[Tensor, Tensor]:
        """Features and latents one symmetry after the other, (8 n, features) and (8 n, latents)."""
        return self.features.flatten(0, 1), self.latents.flatten(0, 1)

    @cached_property
    def ridge(self) -> Encoder:
        """The fit of ``ridge-features``, the slowest of the closed forms, for reuse."""
        return ridge_from_features(self.network, *self.by_symmetry)

    def of_network(self, network: Encoder) -> EncodedPairs:
        """Return the same pairs, encoded by another network of the target."""
        pairs = self.pairs.with_network(network)
        return replace(self, pairs=pairs, features=_shared_features(pairs))

    def encode(self, network: Encoder) -> Tensor:
        """Return (n, latents) posterior means by a network that differs only in its last layer.

        The means are those of `Encoder.pooled`. Averaging commutes with the linear last layer.
        """
        last, galaxy, plain = network.cpu().mean, network.galaxy_latents, self.features[0]
        pooled = self.features.mean(0) if network.symmetric else plain
        means: Tensor = join_latents(last(pooled)[:, :galaxy], last(plain)[:, galaxy:])
        return means

    def extended(self, other: EncodedPairs) -> EncodedPairs:
        """Return these pairs followed by others of the same network."""
        return EncodedPairs(
            pairs=self.pairs.extended(other.pairs),
            latents=torch.cat([self.latents, other.latents], 1),
            features=torch.cat([self.features, other.features], 1),
        )

    def take(self, rows: np.ndarray) -> EncodedPairs:
        """Return the pairs of some rows."""
        latents, features = self.latents[:, rows], self.features[:, rows]
        return replace(self, pairs=self.pairs.take(rows), latents=latents, features=features)


Fit = Callable[[EncodedPairs], Encoder]
"""Closed form: from pairs to a network whose last layer includes the map."""


def _unchanged(pairs: EncodedPairs) -> Encoder:
    return pairs.network


def _ridge(pairs: EncodedPairs) -> Encoder:
    return pairs.ridge


def _to_identity(pairs: EncodedPairs) -> Encoder:
    return ridge_to_identity(pairs.network, *pairs.by_symmetry)


def _then(fit: Fit, match: Callable[[Encoder, Tensor, Tensor], Encoder]) -> Fit:
    """Follow a fit by a map of its latents, which restores the spread after a regression."""

    def both(pairs: EncodedPairs) -> Encoder:
        network = fit(pairs)
        features, anchor = pairs.by_symmetry
        return match(network, network.mean(features), anchor)

    return both


CLOSED_FORMS: Mapping[str, Fit] = {
    BY_DEFINITION: _unchanged,
    "moments": _then(_unchanged, match_moments),
    "covariances": _then(_unchanged, match_covariances),
    "ridge-to-identity": _to_identity,
    "ridge-features": _ridge,
    "ridge-features + covariances": _then(_ridge, match_covariances),
}
"""Closed forms by name."""


class Candidate(NamedTuple):
    """A closed form, `fit`, on pairs that the network named `base` encoded."""

    base: str
    pairs: EncodedPairs
    fit: Fit

    @property
    def network(self) -> Encoder:
        """The network with the fitted map."""
        return self.fit(self.pairs)


def closed_form_candidates(bases: Mapping[str, EncodedPairs]) -> dict[str, Candidate]:
    """List every closed form on each network; `bases` are the same pairs encoded by several."""
    return {
        candidate_name(base, form): Candidate(base, pairs, fit)
        for base, pairs in bases.items()
        for form, fit in CLOSED_FORMS.items()
    }


def candidate_name(base: str, form: str) -> str:
    """Return the name of a closed form on a network."""
    return " + ".join(part for part in (base, form) if part != BY_DEFINITION) or BY_DEFINITION


def calibrate_variances(network: Encoder, held: PairedImages) -> Encoder:
    """Shift log variances so that both posteriors together explain the held-out differences."""
    mean, variance = held.encode(network)
    squared = (mean - held.mean).square().mean(0)
    own = torch.maximum(squared - held.variance.mean(0), 0.1 * squared)
    shifted = copy.deepcopy(network)
    with torch.no_grad():
        shifted.log_variance.bias.add_((own / variance.mean(0)).log())
    return shifted


def _shared_features(pairs: PairedImages) -> Tensor:
    """Last features of the target's images in every symmetry, each process its share."""
    share = Share.of(len(pairs))
    own = features_by_symmetry(pairs.encoder.network, pairs.target[share.own])
    return share.whole(own, dim=1)
