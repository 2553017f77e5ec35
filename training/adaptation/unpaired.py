"""Adaptation without pairs, from images of any galaxies in both surveys.

Maps of the latents match their distribution to the anchor's. The candidate with the smallest
held-out MMD to the anchor is kept, if it gains more than the error over the survey's definition. No
measurement can then show that the same galaxy is found again. The instrument is not fitted: many
instruments give the same distribution, and the wrong one loses galaxies. Distributions are not
matched if the two samples hold galaxies of other brightness or size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from catalogs.splits import SkySplit
from galaxy_da.errors import CatalogError
from galaxy_da.extraction.problems import describe_problems
from galaxy_da.images.inputs import Inputs
from galaxy_da.io.samples import Sample
from galaxy_da.models.networks import Encoder
from galaxy_da.space import LatentSpace, SurveyEncoder
from training.adaptation.candidates import BY_DEFINITION, MAPS
from training.adaptation.images import load_shared_images, shared_posterior
from training.adaptation.populations import compare_populations, measure_galaxies
from training.adaptation.selection import best_candidate, selection_record
from training.adaptation.settings import AdaptSettings
from training.losses import mmd
from training.parallel.processes import agreed

MOST_IMAGES = 4000
"""Images of either survey that are read; the seed chooses among more."""

FEWEST_IMAGES = 200

_BLOCKS = 10  # of held-out images, whose scatter gives the error
_UNPAIRED_MAPS = ("moments", "covariances")


@dataclass(frozen=True, kw_only=True)
class UnpairedImages:
    """Images of any galaxies in two surveys, outside the test part of the sky."""

    space: LatentSpace
    start: SurveyEncoder  # of the target, by definition
    anchor: Inputs  # prepared images, in random order
    target: Inputs
    anchor_rows: np.ndarray  # of the images in the samples
    target_rows: np.ndarray
    samples: tuple[Sample, Sample]  # of the anchor and of the target

    @classmethod
    def load(
        cls,
        space: LatentSpace,
        samples: tuple[Sample, Sample],
        start: SurveyEncoder,
        seed: int,
        split: SkySplit | None = None,
    ) -> Self:
        """Read the images of two samples, or raise CatalogError if either has too few."""
        read: dict[str, Any] = {}
        encoders = space.encoder(space.anchor), start
        for side, sample, own in zip(("anchor", "target"), samples, encoders, strict=True):
            found = _load(space, sample, own, seed, split or SkySplit())
            read[side], read[f"{side}_rows"] = found
        return cls(space=space, start=start, samples=samples, **read)

    @cached_property
    def latents(self) -> Tensor:
        """(n, latents) posterior means of the anchor's images."""
        return shared_posterior(self.space, self.anchor, self.space.encoder(self.space.anchor)).mean

    @cached_property
    def populations(self) -> tuple[dict[str, Any], str]:
        """Comparison of the two samples; see `compare_populations`."""
        space, own = self.space, self.space.encoder(self.space.anchor)
        sides = (self.anchor, own, self.anchor_rows), (self.target, self.start, self.target_rows)
        return compare_populations(
            *(
                measure_galaxies(inputs, encoder, space.frame, *_positions(sample, rows))
                for sample, (inputs, encoder, rows) in zip(self.samples, sides, strict=True)
            )
        )

    def latents_except(self, rows: np.ndarray) -> Tensor:
        """Return the anchor's latents without those of some rows of its sample."""
        return self.latents[torch.from_numpy(~np.isin(self.anchor_rows, rows))]

    def encode(self, network: Encoder) -> Tensor:
        """Return (m, latents) of the target's images by a network."""
        return shared_posterior(self.space, self.target, replace(self.start, network=network)).mean


def adapt_without_pairs(
    images: UnpairedImages, settings: AdaptSettings
) -> tuple[Encoder, dict[str, Any]]:
    """Choose the best candidate that needs no pairs, and record the choice.

    Candidates are fitted to every other image and compared on the rest. A map that is chosen is
    fitted again to all images.
    """
    start = images.start.network
    populations, warning = images.populations
    record: dict[str, Any] = {
        "images": {"anchor": len(images.anchor), "target": len(images.target)},
        "seed": settings.seed,
        "populations": populations,
        "warnings": [warning] if warning else [],
    }
    if not agreed(populations["match"]):
        kept = {"judged_by": "definition, no pairs", "chosen": BY_DEFINITION, "candidates": []}
        refused = f"the samples hold different galaxies: {warning}; nothing was matched"
        return start, record | kept | {"warnings": [refused]}
    latents = images.encode(start)

    def candidates(rows: slice) -> dict[str, Encoder]:
        """Match the distributions of the images of some rows."""
        maps = {
            name: MAPS[name](start, latents[rows], images.latents[rows]) for name in _UNPAIRED_MAPS
        }
        return {BY_DEFINITION: start, **maps}

    scores = _closeness(images, candidates(slice(0, None, 2)))
    chosen = agreed(best_candidate(scores))
    record |= selection_record("held-out images, no pairs", chosen, scores, "mmd")
    return candidates(slice(None))[chosen], record


def _closeness(images: UnpairedImages, networks: dict[str, Encoder]) -> dict[str, np.ndarray]:
    """Negative MMD of galaxy latents to the anchor's, in blocks of images that nothing fitted."""
    galaxy = slice(images.space.galaxy_latents)
    anchor = images.latents[1::2, galaxy]
    scores = {}
    for name, network in networks.items():
        target = images.encode(network)[1::2, galaxy]
        blocks = [float(mmd(target[i::_BLOCKS], anchor[i::_BLOCKS])) for i in range(_BLOCKS)]
        scores[name] = -np.array(blocks)
    return scores


def _positions(sample: Sample, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ra, dec = (np.asarray(sample.catalog[name])[rows] for name in ("ra", "dec"))
    return ra, dec


def _load(
    space: LatentSpace, sample: Sample, encoder: SurveyEncoder, seed: int, split: SkySplit
) -> tuple[Inputs, np.ndarray]:
    """Prepare images outside the test part of the sky in random order; also return their rows."""
    rows = np.flatnonzero(split.part(*_positions(sample, np.arange(len(sample)))) != "test")
    rows = np.random.default_rng(seed).permutation(rows)[:MOST_IMAGES]
    inputs, usable = load_shared_images(sample, rows, encoder, space.frame)
    if usable.sum() < FEWEST_IMAGES:
        raise CatalogError(
            f"{sample.path}: only {int(usable.sum())} usable cutouts lie outside the test part of "
            f"the sky, at least {FEWEST_IMAGES} are needed to adapt without pairs"
            + describe_problems(sample, rows, encoder, space.frame)
        )
    return inputs[torch.from_numpy(usable)], rows[usable]
