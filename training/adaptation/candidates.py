"""What adaptation tries on pairs without training: closed forms on what a network makes of them."""

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
from galaxy_da.models.smoothing import Smoothing
from galaxy_da.models.symmetries import features_by_symmetry, means_by_symmetry
from galaxy_da.space import LatentSpace, SurveyEncoder
from training.adaptation.closed_form import (
    match_covariances,
    match_moments,
    ridge_from_features,
    ridge_from_latents,
    ridge_to_identity,
    rotate,
)
from training.adaptation.image_matching import excess_variance
from training.adaptation.paired_images import PairedImages
from training.parallel.processes import Share

__all__ = [
    "CLOSED_FORMS",
    "SMOOTHED",
    "UNADAPTED",
    "Candidate",
    "Training",
    "bases_of",
    "calibrated",
    "closed_forms",
    "joined",
    "plain_networks",
]


@dataclass(frozen=True, kw_only=True)
class Training:
    """Pairs to fit, with what the networks make of them in every symmetry.

    Attributes
    ----------
    pairs : PairedImages
        The images.
    latents : (8, n, latents) float tensor
        The anchor's posterior means.
    features : (8, n, features) float tensor
        Last features of the target's images in its network, the un-adapted one or another.
    """

    pairs: PairedImages
    latents: Tensor
    features: Tensor

    @classmethod
    def of(cls, pairs: PairedImages) -> Training:
        """Encode both sides in every symmetry, each process some of the pairs."""
        space, share = pairs.space, Share.of(len(pairs))
        latents = means_by_symmetry(space, space.encoder(space.anchor), pairs.anchor[share.own])
        return cls(
            pairs=pairs, latents=share.whole(latents, dim=1), features=_shared_features(pairs)
        )

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def network(self) -> Encoder:
        """What closed forms start from, on the CPU as the features are."""
        return self.pairs.encoder.network.cpu()

    @cached_property
    def ridge(self) -> Encoder:
        """The dearest of the closed forms, which others go on from."""
        return ridge_from_features(
            self.network, self.features.flatten(0, 1), self.latents.flatten(0, 1)
        )

    def of_network(self, network: Encoder) -> Training:
        """Return the same pairs as another network of the target sees them."""
        pairs = self.pairs.seen_by(network)
        return replace(self, pairs=pairs, features=_shared_features(pairs))

    def encode(self, network: Encoder) -> Tensor:
        """(n, latents) posterior means by a network that differs from this one in its last layer.

        As `Encoder.pooled` gives them: averaged over symmetries or not, which a linear layer does
        not mind to do of its inputs.
        """
        last, galaxy, plain = network.cpu().mean, network.galaxy_latents, self.features[0]
        pooled = self.features.mean(0) if network.symmetric else plain
        return join_latents(last(pooled)[:, :galaxy], last(plain)[:, galaxy:])

    def with_more(self, other: Training) -> Training:
        """Return these pairs and others as the same network sees them."""
        return Training(
            pairs=self.pairs.with_more(other.pairs),
            latents=torch.cat([self.latents, other.latents], 1),
            features=torch.cat([self.features, other.features], 1),
        )

    def take(self, rows: np.ndarray) -> Training:
        """Return some of the pairs."""
        return replace(
            self,
            pairs=self.pairs.take(rows),
            latents=self.latents[:, rows],
            features=self.features[:, rows],
        )


def _shared_features(pairs: PairedImages) -> Tensor:
    """Last features of the target's images in every symmetry, each process some of them."""
    share = Share.of(len(pairs))
    own = features_by_symmetry(pairs.encoder.network, pairs.target[share.own])
    return share.whole(own, dim=1)


Fit = Callable[[Training], Encoder]


def _on_pairs(regress: Callable[[Encoder, Tensor, Tensor], Encoder]) -> Fit:
    return lambda t: regress(t.network, t.features.flatten(0, 1), t.latents.flatten(0, 1))


def _as_it_is(training: Training) -> Encoder:
    return training.network


def _ridge(training: Training) -> Encoder:
    return training.ridge


def _then(fit: Fit, match: Callable[[Encoder, Tensor, Tensor], Encoder]) -> Fit:
    """Match what a fit comes to with the anchor's latents, whose spread regression narrows."""

    def both(t: Training) -> Encoder:
        network = fit(t)
        return match(network, network.mean(t.features.flatten(0, 1)), t.latents.flatten(0, 1))

    return both


UNADAPTED, SMOOTHED = "unadapted", "smoothed"

CLOSED_FORMS: Mapping[str, Fit] = {
    UNADAPTED: _as_it_is,
    "moments": _then(_as_it_is, match_moments),
    "covariances": _then(_as_it_is, match_covariances),
    "rotation": _then(_as_it_is, rotate),
    "ridge-to-identity": _on_pairs(ridge_to_identity),
    "ridge-latents": _on_pairs(ridge_from_latents),
    "ridge-features": _ridge,
    "ridge-then-moments": _then(_ridge, match_moments),
    "ridge-then-covariances": _then(_ridge, match_covariances),
}
"""Closed forms by name, each from training pairs to a network."""


class Candidate(NamedTuple):
    """A closed form, the name of the network it is on, and what it is fitted to."""

    base: str
    training: Training
    fit: Fit

    @property
    def network(self) -> Encoder:
        """What it comes to."""
        return self.fit(self.training)


def closed_forms(bases: Mapping[str, Training]) -> dict[str, Candidate]:
    """List every closed form on each of some networks.

    Parameters
    ----------
    bases : dict of str to Training
        The same pairs as seen by the networks, `UNADAPTED` and others.

    Returns
    -------
    dict of str to Candidate
        By the form's name; those of other networks than the un-adapted one by both names.
    """
    return {
        joined(base, form): Candidate(base, training, fit)
        for base, training in bases.items()
        for form, fit in CLOSED_FORMS.items()
    }


def joined(base: str, form: str) -> str:
    """Name a closed form on a network."""
    return "+".join(part for part in (base, form) if part != UNADAPTED) or UNADAPTED


def plain_networks(space: LatentSpace, start: SurveyEncoder) -> dict[str, Encoder]:
    """Return the networks that nothing was learnt for: the un-adapted one, plain and smoothing.

    Parameters
    ----------
    space : LatentSpace
    start : SurveyEncoder
        The target's un-adapted encoder.

    Returns
    -------
    dict of str to Encoder
        ``smoothed`` where a band of the target is sharper than the anchor's.
    """
    excess = excess_variance(space, start)
    networks = {UNADAPTED: start.network}
    if (excess > 0).any():
        networks[SMOOTHED] = start.network.smoothed(Smoothing.by(excess))
    return networks


def bases_of(pairs: PairedImages, others: Mapping[str, Encoder]) -> dict[str, Training]:
    """Show pairs to the networks that nothing was learnt for, and to others.

    Parameters
    ----------
    pairs : PairedImages
    others : dict of str to Encoder
        Further networks of the target.

    Returns
    -------
    dict of str to Training
        By name of the network, `UNADAPTED` the first.
    """
    plain = Training.of(pairs)
    networks = plain_networks(pairs.space, pairs.encoder) | dict(others)
    del networks[UNADAPTED]
    return {UNADAPTED: plain} | {name: plain.of_network(net) for name, net in networks.items()}


def calibrated(network: Encoder, held: PairedImages) -> Encoder:
    """Shift log variances so that both posteriors together explain the held-out differences."""
    mean, variance = held.encode(network)
    squared = (mean - held.mean).square().mean(0)
    own = torch.maximum(squared - held.variance.mean(0), 0.1 * squared)
    shifted = copy.deepcopy(network)
    with torch.no_grad():
        shifted.log_variance.bias.add_((own / variance.mean(0)).log())
    return shifted
