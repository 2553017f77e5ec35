"""Losses of a survey's latents against the anchor's of the same galaxies."""

from __future__ import annotations

import torch
from torch import Tensor

from galaxy_da.models.networks import Encoder
from training.adaptation.images import PairedImages
from training.losses import contrastive, paired

__all__ = ["PairLosses"]


class PairLosses:
    """Squared distance of paired latents, and contrast over galaxy latents and over all.

    The median squared distance of some pairs in a network is the temperature of the contrast.
    """

    def __init__(self, pairs: PairedImages, network: Encoder) -> None:
        space = pairs.space
        self._widths = sorted({space.galaxy_latents, space.architecture.latents})
        self._spread = pairs.mean.var(0).clamp_min(1e-3)
        squared = (pairs.encode(network).mean - pairs.mean).square()
        self._temperatures = [
            float(squared[:, :width].sum(1).median().clamp_min(1e-3)) for width in self._widths
        ]

    def __call__(self, mean: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """Return the losses of (n, latents) before their weights, by the name of their weight."""
        contrasts = [
            contrastive(mean[:, :width], wanted[:, :width], temperature)
            for width, temperature in zip(self._widths, self._temperatures, strict=True)
        ]
        return {
            "paired": paired(mean, wanted, self._spread.to(mean.device)),
            "contrastive": torch.stack(contrasts).mean(),
        }
