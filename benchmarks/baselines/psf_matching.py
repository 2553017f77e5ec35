"""Match PSF and noise in the image plane, then use the frozen anchor's encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from benchmarks.baselines.interface import AdaptationData, Fitted
from training.adaptation.image_matching import ImageMatch

__all__ = ["PsfMatching"]


@dataclass(frozen=True)
class PsfMatching:
    """The un-adapted encoder on images of matched PSF and noise.

    It needs no pairs and no training. See `training.adaptation.image_matching`.
    """

    name: ClassVar[str] = "psf-noise-matching"
    needs_pairs: ClassVar[bool] = False

    def fit(self, data: AdaptationData) -> Fitted:
        """Measure both surveys' noise; their PSFs are in their definitions."""
        match = ImageMatch.to_anchor(
            data.space, data.encoder, data.anchor_images, data.target_images
        )
        return Fitted(
            anchor=data.encode_anchor,
            target=lambda images: data.encode_target(
                match(images, torch.Generator().manual_seed(data.seed))
            ),
            record={
                "variance_px2": match.variance_px2.tolist(),
                "anchor_noise": match.noise_to.tolist(),
                "target_noise": match.noise_from.tolist(),
            },
        )
