"""What adaptation tries on pairs without training: closed forms on what a network makes of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from galaxy_da.models import Encoder
from galaxy_da.smoothing import Smoothing
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.turned import turned_features, turned_means
from training.closed_form import (
    match_covariances,
    match_moments,
    ridge_from_features,
    ridge_from_latents,
    ridge_to_identity,
    rotate,
)
from training.image_matching import excess_variance
from training.paired_images import PairedImages
from training.sharing import Share

__all__ = [
    "CLOSED_FORMS",
    "SMOOTHED",
    "UNADAPTED",
    "Candidate",
    "Training",
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
        latents = turned_means(space, space.encoder(space.anchor), pairs.anchor[share.own])
        return cls(
            pairs=pairs, latents=share.whole(latents, dim=1), features=_shared_features(pairs)
        )

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def network(self) -> Encoder:
        """What closed forms start from."""
        return self.pairs.encoder.network

    def of_network(self, network: Encoder) -> Training:
        """Return the same pairs as another network of the target sees them."""
        pairs = self.pairs.seen_by(network)
        return replace(self, pairs=pairs, features=_shared_features(pairs))

    def with_more(self, other: PairedImages) -> Training:
        """Return these pairs and others of the same survey."""
        more = Training.of(other.seen_by(self.network))
        return Training(
            pairs=self.pairs.with_more(other),
            latents=torch.cat([self.latents, more.latents], 1),
            features=torch.cat([self.features, more.features], 1),
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
    own = turned_features(pairs.encoder.network, pairs.target[share.own])
    return share.whole(own, dim=1)


Fit = Callable[[Training], Encoder]


def _on_pairs(regress: Callable[[Encoder, Tensor, Tensor], Encoder]) -> Fit:
    return lambda t: regress(t.network, t.features.flatten(0, 1), t.latents.flatten(0, 1))


def _on_latents(match: Callable[[Encoder, Tensor, Tensor], Encoder]) -> Fit:
    return lambda t: match(
        t.network, t.network.mean(t.features.flatten(0, 1)), t.latents.flatten(0, 1)
    )


UNADAPTED, SMOOTHED = "unadapted", "smoothed"

CLOSED_FORMS: Mapping[str, Fit] = {
    UNADAPTED: lambda training: training.network,
    "moments": _on_latents(match_moments),
    "covariances": _on_latents(match_covariances),
    "rotation": _on_latents(rotate),
    "ridge-to-identity": _on_pairs(ridge_to_identity),
    "ridge-latents": _on_pairs(ridge_from_latents),
    "ridge-features": _on_pairs(ridge_from_features),
}
"""Closed forms by name, each from training pairs to a network."""


class Candidate(NamedTuple):
    """A closed form and what it is fitted to."""

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
        joined(base, form): Candidate(training, fit)
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


def calibrated(network: Encoder, held: PairedImages) -> Encoder:
    """Shift log variances so that both posteriors together explain the held-out differences."""
    mean, variance = held.encode(network)
    squared = (mean - held.mean).square().mean(0)
    own = torch.maximum(squared - held.variance.mean(0), 0.1 * squared)
    shifted = copy.deepcopy(network)
    with torch.no_grad():
        shifted.log_variance.bias.add_((own / variance.mean(0)).log())
    return shifted
