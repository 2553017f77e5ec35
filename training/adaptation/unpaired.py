"""Adaptation without pairs: from what is known of both surveys, and from their distributions.

Where the target is no deeper than the anchor, the anchor's images are made to look as the target
would have seen them (`training.adaptation.image_matching`), and a network learns to give them the
latents of the originals; then its latents of the target's own images get the anchor's mean and
spread. Images made in the same way and held out judge it. A deeper or sharper target is smoothed to
the anchor's PSF where that is the wider, and leaves distributions to go by: nothing can then vouch
that the same galaxy is found again, and of the maps that exist the one is taken whose latents of
unseen images are least told apart from the anchor's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from catalogs.splits import sky_split
from galaxy_da.errors import CatalogError
from galaxy_da.io.samples import Sample
from galaxy_da.models.networks import Encoder, Posterior
from galaxy_da.space import LatentSpace, SurveyEncoder
from training.adaptation.candidates import UNADAPTED, Training, calibrated, joined, plain_networks
from training.adaptation.closed_form import match_covariances, match_moments
from training.adaptation.fine_tuning import FineTuningSettings, fine_tune
from training.adaptation.image_matching import ImageMatch, excess_variance
from training.adaptation.paired_images import PairedImages
from training.adaptation.shared_images import load_shared_images, shared_posterior
from training.losses import mmd
from training.parallel.processes import agreed

__all__ = ["FEWEST_IMAGES", "MOST_IMAGES", "Unpaired", "match_distributions"]

MOST_IMAGES = 4000
"""Images of either survey that are read; more are left out by seed."""

FEWEST_IMAGES = 200

_HELD_OUT = 8  # one in so many
_MATCHES = {"moments": match_moments, "covariances": match_covariances}


@dataclass(frozen=True, kw_only=True)
class Unpaired:
    """Images of two surveys outside the test part of the sky, of any galaxies.

    Attributes
    ----------
    space : LatentSpace
        Gives the anchor's encoder.
    start : SurveyEncoder
        The target's un-adapted encoder.
    anchor, target : (n, bands, y, x) and (m, planes, y, x) float tensors
        Prepared images, in random order.
    anchor_rows : (n,) int array
        Of the anchor's sample.
    seed : int
        Of the order and all draws.
    """

    space: LatentSpace
    start: SurveyEncoder
    anchor: Tensor
    target: Tensor
    anchor_rows: np.ndarray
    seed: int

    @classmethod
    def load(
        cls, space: LatentSpace, anchor: Sample, target: Sample, start: SurveyEncoder, seed: int
    ) -> Self:
        """Read the images of two samples.

        Raises
        ------
        CatalogError
            If either has fewer than 200 usable cutouts outside the test part of the sky.
        """
        own = space.encoder(space.anchor)
        first, rows = _images(space, anchor, own, seed)
        second, _ = _images(space, target, start, seed)
        return cls(
            space=space, start=start, anchor=first, target=second, anchor_rows=rows, seed=seed
        )

    @cached_property
    def match(self) -> ImageMatch:
        """From the anchor's images to what the target would have seen."""
        return ImageMatch.to_target(self.space, self.start, self.anchor, self.target)

    @cached_property
    def loses(self) -> bool:
        """Whether the target sees no deeper than the anchor, nor sharper in every band."""
        sharper = bool((excess_variance(self.space, self.start) > 0).all())
        return agreed(self.match.loses and not sharper)

    @cached_property
    def posterior(self) -> Posterior:
        """Of the anchor's images, mean and variance (n, latents)."""
        return shared_posterior(self.space, self.anchor, self.space.encoder(self.space.anchor))

    @property
    def latents(self) -> Tensor:
        """(n, latents) posterior means of the anchor's images."""
        return self.posterior.mean

    def latents_beside(self, rows: np.ndarray) -> Tensor:
        """Those of other galaxies than some rows of the anchor's sample."""
        return self.latents[torch.from_numpy(~np.isin(self.anchor_rows, rows))]

    def encode(self, network: Encoder) -> Tensor:
        """(m, latents) of the target's images by a network."""
        encoder = replace(self.start, network=network)
        return shared_posterior(self.space, self.target, encoder).mean

    @cached_property
    def pretended(self) -> tuple[PairedImages, PairedImages]:
        """The anchor's images beside what the target would have made of them; some held out."""
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

    def degraded(
        self, settings: FineTuningSettings, checkpoint: Path | None = None, progress: bool = False
    ) -> tuple[Encoder, list[dict[str, float]]]:
        """Learn from degraded images, then match the target's moments.

        Parameters
        ----------
        settings : FineTuningSettings
            Of the training.
        checkpoint : Path, optional
            As for `training.adaptation.fine_tuning.refine`.
        progress : bool
            Show a progress bar on stderr.

        Returns
        -------
        Encoder
        list of dict
            Curves of the training.
        """
        train, held = self.pretended
        network, curves = fine_tune(
            self.start.network,
            Training.of(train),
            held,
            settings=settings,
            seed=self.seed,
            degrade=self.match,
            use_target=False,
            checkpoint=checkpoint,
            progress=progress,
        )
        return match_moments(network, self.encode(network), self.latents), curves


def match_distributions(
    images: Unpaired,
    settings: FineTuningSettings,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> tuple[Encoder, dict[str, Any]]:
    """Choose among what can be learnt without pairs.

    Parameters
    ----------
    images : Unpaired
        Of both surveys.
    settings, checkpoint, progress
        As for `Unpaired.degraded`.

    Returns
    -------
    Encoder
    dict
        What to record: ``chosen``, ``judged_by``, ``candidates``, ``images``, ``seed``.

    Notes
    -----
    What matches distributions is fitted to every other image to be judged on the rest, and once
    more to all of them if it is chosen.
    """
    networks = plain_networks(images.space, images.start)
    if images.loses:  # what is judged there has the anchor's PSF
        networks = {UNADAPTED: networks[UNADAPTED]}
    *_, start = networks
    found = images.encode(networks[start])

    def matched(rows: slice) -> dict[str, Encoder]:
        """Match the distributions of some of the images."""
        return {
            joined(start, form): match(networks[start], found[rows], images.latents[rows])
            for form, match in _MATCHES.items()
        }

    networks |= matched(slice(0, None, 2))
    record: dict[str, Any] = {
        "images": {"anchor": len(images.anchor), "target": len(images.target)},
        "seed": images.seed,
    }
    if images.loses:
        networks["degraded"], record["curves"] = images.degraded(settings, checkpoint, progress)
        train, held = images.pretended
        scores = {
            name: float(held.reciprocal_ranks(held.encode(network).mean, train.mean).mean())
            for name, network in networks.items()
        }
        record |= _judged("degraded anchor images", "mean_reciprocal_rank", scores)
        best = max(scores, key=lambda name: scores[name])
    else:
        apart = _discrepancies(images, networks)
        record |= _judged("maximum mean discrepancy", "mmd", apart)
        best = min(apart, key=lambda name: apart[name])
    chosen = agreed(best)
    network = (networks | matched(slice(None)))[chosen]
    if images.loses:
        network = calibrated(network, images.pretended[1])
    return network, record | {"chosen": chosen}


def _discrepancies(images: Unpaired, networks: Mapping[str, Encoder]) -> dict[str, float]:
    """Discrepancy of each network's galaxy latents of images it was not fitted to."""
    galaxy, unseen = slice(images.space.galaxy_latents), slice(1, None, 2)
    anchor = images.latents[unseen, galaxy]
    return {
        name: float(mmd(images.encode(network)[unseen, galaxy], anchor))
        for name, network in networks.items()
    }


def _judged(by: str, measure: str, scores: Mapping[str, float]) -> dict[str, Any]:
    return {
        "judged_by": f"{by}, no pairs",
        "candidates": [{"name": name, measure: value} for name, value in scores.items()],
    }


def _images(
    space: LatentSpace, sample: Sample, encoder: SurveyEncoder, seed: int
) -> tuple[Tensor, np.ndarray]:
    """Prepare images of a sample outside the test part of the sky, in random order; their rows."""
    ra, dec = (np.asarray(sample.catalog[name]) for name in ("ra", "dec"))
    rows = np.flatnonzero(sky_split(ra, dec) != "test")
    rows = np.random.default_rng(seed).permutation(rows)[:MOST_IMAGES]
    images, usable = load_shared_images(sample, rows, encoder, space.frame)
    if usable.sum() < FEWEST_IMAGES:
        raise CatalogError(
            f"{sample.path}: only {int(usable.sum())} usable cutouts lie outside the test part of "
            f"the sky, at least {FEWEST_IMAGES} are needed to adapt without pairs"
        )
    return images[torch.from_numpy(usable)], rows[usable]
