"""Adaptation without pairs, from images of any galaxies in both surveys.

If the target is no deeper than the anchor, the anchor's images are degraded to the target
(`training.adaptation.image_matching`). A network learns to give them the latents of the originals.
Then its latents of the target's own images get the anchor's mean and spread. Held-out degraded
images choose among the candidates.

A deeper or sharper target is smoothed to the anchor's PSF where that is wider, and distributions of
latents are matched. Without pairs, no measurement can then show that the same galaxy is found
again. The map with the smallest held-out MMD to the anchor is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from catalogs.splits import SkySplit
from galaxy_da.errors import CatalogError
from galaxy_da.extraction.problems import describe_problems
from galaxy_da.io.samples import Sample
from galaxy_da.models.networks import Encoder, Posterior
from galaxy_da.space import LatentSpace, SurveyEncoder
from training.adaptation.candidates import (
    DEGRADED,
    UNADAPTED,
    EncodedPairs,
    calibrate_variances,
    candidate_name,
    untrained_networks,
)
from training.adaptation.closed_form import match_covariances, match_moments
from training.adaptation.fine_tuning import fine_tune
from training.adaptation.image_matching import ImageMatch, excess_variance
from training.adaptation.images import PairedImages, load_shared_images, shared_posterior
from training.adaptation.settings import AdaptSettings
from training.losses import mmd
from training.parallel.processes import agreed

__all__ = ["FEWEST_IMAGES", "MOST_IMAGES", "UnpairedImages", "adapt_without_pairs"]

MOST_IMAGES = 4000
"""Images of either survey that are read; the seed chooses among more."""

FEWEST_IMAGES = 200

_HELD_OUT = 8  # one image in eight
_MAPS = {"moments": match_moments, "covariances": match_covariances}


@dataclass(frozen=True, kw_only=True)
class UnpairedImages:
    """Images of any galaxies in two surveys, outside the test part of the sky.

    Attributes
    ----------
    start : SurveyEncoder
        The target's un-adapted encoder.
    anchor, target : (n, bands, y, x) and (m, planes, y, x) float tensors
        Prepared images, in random order.
    anchor_rows : (n,) int array
        Rows of the anchor's sample.
    seed : int
        Seed of the order and of all draws.
    """

    space: LatentSpace
    start: SurveyEncoder
    anchor: Tensor
    target: Tensor
    anchor_rows: np.ndarray
    seed: int

    @classmethod
    def load(
        cls,
        space: LatentSpace,
        anchor: Sample,
        target: Sample,
        start: SurveyEncoder,
        seed: int,
        split: SkySplit | None = None,
    ) -> Self:
        """Read the images of two samples, or raise CatalogError if either has too few."""
        own, split = space.encoder(space.anchor), split or SkySplit()
        anchor_images, rows = _load(space, anchor, own, seed, split)
        target_images, _ = _load(space, target, start, seed, split)
        return cls(
            space=space,
            start=start,
            anchor=anchor_images,
            target=target_images,
            anchor_rows=rows,
            seed=seed,
        )

    @cached_property
    def match(self) -> ImageMatch:
        """Degradation of the anchor's images to the target survey."""
        return ImageMatch.to_target(self.space, self.start, self.anchor, self.target)

    @cached_property
    def degradable(self) -> bool:
        """True if the target is no deeper than the anchor, and not sharper in every band."""
        sharper = bool((excess_variance(self.space, self.start) > 0).all())
        return agreed(self.match.degrades and not sharper)

    @cached_property
    def posterior(self) -> Posterior:
        """Posterior of the anchor's images, mean and variance (n, latents)."""
        return shared_posterior(self.space, self.anchor, self.space.encoder(self.space.anchor))

    @property
    def latents(self) -> Tensor:
        """(n, latents) posterior means of the anchor's images."""
        return self.posterior.mean

    def latents_except(self, rows: np.ndarray) -> Tensor:
        """Return the anchor's latents without those of some rows of its sample."""
        return self.latents[torch.from_numpy(~np.isin(self.anchor_rows, rows))]

    def encode(self, network: Encoder) -> Tensor:
        """Return (m, latents) of the target's images by a network."""
        encoder = replace(self.start, network=network)
        return shared_posterior(self.space, self.target, encoder).mean

    @cached_property
    def degraded_pairs(self) -> tuple[PairedImages, PairedImages]:
        """Pairs of the anchor's images and their degraded versions, to train on and held out."""
        draws = torch.Generator().manual_seed(self.seed)
        pairs = PairedImages(
            space=self.space,
            encoder=self.start,
            anchor=self.anchor,
            target=self.match(self.anchor, draws),
            mean=self.posterior.mean,
            variance=self.posterior.variance,
        )
        held = np.arange(len(pairs)) % _HELD_OUT == 0
        return pairs.take(np.flatnonzero(~held)), pairs.take(np.flatnonzero(held))

    def train_degraded(self, settings: AdaptSettings) -> tuple[Encoder, list[dict[str, float]]]:
        """Train a network on degraded images, then match its moments on the target's own images.

        Returns the network and the curves of the training.
        """
        train, held = self.degraded_pairs
        network, curves = fine_tune(
            self.start.network,
            EncodedPairs.of(train),
            held,
            settings,
            degrade=self.match,
            use_target=False,
        )
        return match_moments(network, self.encode(network), self.latents), curves


def adapt_without_pairs(
    images: UnpairedImages, settings: AdaptSettings
) -> tuple[Encoder, dict[str, Any]]:
    """Choose the best candidate that needs no pairs, and record the choice.

    Maps that match distributions are fitted to every other image and compared on the rest. The
    chosen one is fitted again to all images.
    """
    networks = untrained_networks(images.space, images.start)
    if images.degradable:  # degraded images have the anchor's PSF or a wider one
        networks = {UNADAPTED: networks[UNADAPTED]}
    *_, start = networks
    latents = images.encode(networks[start])

    def matched(rows: slice) -> dict[str, Encoder]:
        """Match the distributions of the images of some rows."""
        return {
            candidate_name(start, form): match(networks[start], latents[rows], images.latents[rows])
            for form, match in _MAPS.items()
        }

    networks |= matched(slice(0, None, 2))
    record: dict[str, Any] = {
        "images": {"anchor": len(images.anchor), "target": len(images.target)},
        "seed": images.seed,
    }
    if images.degradable:
        networks[DEGRADED], record["curves"] = images.train_degraded(settings)
        train, held = images.degraded_pairs
        ranks = {
            name: float(held.reciprocal_ranks(held.encode(network).mean, train.mean).mean())
            for name, network in networks.items()
        }
        record |= _scores("degraded anchor images", "mean_reciprocal_rank", ranks)
        best = max(ranks, key=lambda name: ranks[name])
    else:
        discrepancies = _discrepancies(images, networks)
        record |= _scores("maximum mean discrepancy", "mmd", discrepancies)
        best = min(discrepancies, key=lambda name: discrepancies[name])
    chosen = agreed(best)
    network = (networks | matched(slice(None)))[chosen]
    if images.degradable:
        network = calibrate_variances(network, images.degraded_pairs[1])
    return network, record | {"chosen": chosen}


def _discrepancies(images: UnpairedImages, networks: Mapping[str, Encoder]) -> dict[str, float]:
    """MMD of each network's galaxy latents of images that no map was fitted to."""
    galaxy, rows = slice(images.space.galaxy_latents), slice(1, None, 2)
    anchor = images.latents[rows, galaxy]
    return {
        name: float(mmd(images.encode(network)[rows, galaxy], anchor))
        for name, network in networks.items()
    }


def _scores(judged_by: str, measure: str, scores: Mapping[str, float]) -> dict[str, Any]:
    return {
        "judged_by": f"{judged_by}, no pairs",
        "candidates": [{"name": name, measure: value} for name, value in scores.items()],
    }


def _load(
    space: LatentSpace, sample: Sample, encoder: SurveyEncoder, seed: int, split: SkySplit
) -> tuple[Tensor, np.ndarray]:
    """Prepare images outside the test part of the sky in random order; also return their rows."""
    ra, dec = (np.asarray(sample.catalog[name]) for name in ("ra", "dec"))
    rows = np.flatnonzero(split.part(ra, dec) != "test")
    rows = np.random.default_rng(seed).permutation(rows)[:MOST_IMAGES]
    images, usable = load_shared_images(sample, rows, encoder, space.frame)
    if usable.sum() < FEWEST_IMAGES:
        raise CatalogError(
            f"{sample.path}: only {int(usable.sum())} usable cutouts lie outside the test part of "
            f"the sky, at least {FEWEST_IMAGES} are needed to adapt without pairs"
            + describe_problems(sample, rows, encoder, space.frame)
        )
    return images[torch.from_numpy(usable)], rows[usable]
