"""Candidates of an adaptation: networks, each alone or followed by a closed-form map.

A candidate's name joins its network and its map by `` + ``, such as ``instrument + covariances``.

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
=====================  =============================================================================

`MAPS` holds the maps, `training.adaptation.selection` chooses among the candidates.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from galaxy_da.models.networks import Encoder
from training.adaptation.closed_form import match_covariances, match_moments, ridge_to_identity
from training.adaptation.images import PairedImages

BY_DEFINITION, INSTRUMENT = "by definition", "instrument"
UNPAIRED, FINE_TUNED = "unpaired", "fine-tuned"

MAPS: Mapping[str, Callable[[Encoder, Tensor, Tensor], Encoder]] = {
    "moments": match_moments,
    "covariances": match_covariances,
    "ridge-to-identity": ridge_to_identity,
}
"""Closed forms by name: from a network, its (n, latents) and the anchor's to a network."""


def with_maps(networks: Mapping[str, Encoder], pairs: PairedImages) -> dict[str, Encoder]:
    """Return networks by name, and each followed by every map, fitted to pairs."""
    candidates = dict(networks)
    for base, network in networks.items():
        latents = pairs.encode(network).mean
        prefix = "" if base == BY_DEFINITION else f"{base} + "
        for name, match in MAPS.items():
            candidates[prefix + name] = match(network, latents, pairs.mean)
    return candidates


def calibrate_variances(network: Encoder, held: PairedImages) -> Encoder:
    """Shift log variances so that both posteriors together explain the held-out differences."""
    mean, variance = held.encode(network)
    squared = (mean - held.mean).square().mean(0)
    own = torch.maximum(squared - held.variance.mean(0), 0.1 * squared)
    shifted = copy.deepcopy(network)
    with torch.no_grad():
        shifted.log_variance.bias.add_((own / variance.mean(0)).log())
    return shifted
