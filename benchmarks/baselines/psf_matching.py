"""Match PSF and noise in the image plane, then use the anchor's frozen encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from benchmarks.baselines.interface import AdaptationData, Fitted
from galaxy_da.space import LatentSpace, SurveyEncoder
from training.adaptation.image_matching import ImageMatch

__all__ = ["AnchorMatch", "PsfMatching"]

_TINY = 1e-12


class AnchorMatch(ImageMatch):
    """Conversion of a target's images to the anchor's PSF and noise.

    A sharper image is convolved. A blurrier one is deconvolved as far as its noise allows: a Wiener
    weight, from the image's own power averaged in rings, interpolates between the deconvolved and
    the original image, so that faint galaxies keep their flux.

    References
    ----------
    Wiener (1949); kernels for matching PSFs in Boucaud et al. (2016), A&A 596, A63.
    """

    @classmethod
    def to_anchor(
        cls, space: LatentSpace, encoder: SurveyEncoder, anchor: Tensor, target: Tensor
    ) -> Self:
        """Match each band of a target to the nearest anchor band: the reverse of `to_target`."""
        there = ImageMatch.to_target(space, encoder, anchor, target)
        return cls(
            source=torch.arange(len(encoder.bands)),
            softening_from=there.softening_to,
            softening_to=there.softening_to,
            variance_px2=-there.variance_px2,
            noise_from=there.noise_to,
            noise_to=there.noise_from,
        )

    def transfer(self, spectrum: Tensor, frequency: Tensor) -> Tensor:
        """Return the factor of each image's spectrum; it deconvolves a blurrier input."""
        variance = self.variance_px2[:, None, None]
        transfer = torch.exp(-2 * math.pi**2 * variance.abs() * frequency.square())[None]
        if not (variance < 0).any():
            return transfer
        noise = self.noise_from.square()[:, None, None]
        signal = (_ring_mean(spectrum.abs().square(), frequency) - noise).clamp_min(0)
        gain = signal / (signal * transfer.square() + noise).clamp_min(_TINY)
        return torch.where(variance >= 0, transfer, 1 + gain * transfer * (1 - transfer))


@dataclass(frozen=True)
class PsfMatching:
    """The un-adapted encoder on images of matched PSF and noise; no pairs, no training."""

    name: ClassVar[str] = "psf-noise-matching"
    needs_pairs: ClassVar[bool] = False

    def fit(self, data: AdaptationData) -> Fitted:
        """Measure both surveys' noise; their PSFs are in their definitions."""
        match = AnchorMatch.to_anchor(
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


def _ring_mean(power: Tensor, frequency: Tensor) -> Tensor:
    """Return the mean power in rings one Fourier pixel wide, back on the half plane."""
    ring = (frequency * power.shape[-2]).round().long().flatten()
    rings = int(ring.max()) + 1
    total = power.new_zeros(*power.shape[:-2], rings).index_add_(-1, ring, power.flatten(-2))
    return (total / torch.bincount(ring, minlength=rings))[..., ring].view_as(power)
