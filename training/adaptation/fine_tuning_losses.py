"""Losses of fine-tuning.

Paired latents, contrast over true pairs, MMD, and a denoising loss: the frozen decoder must draw
the anchor's image of a galaxy from the target's latents. Each galaxy has one or two observations,
over which the losses are averaged: the target's image, and the anchor's image degraded to the
target survey with new noise (`training.adaptation.image_matching`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from galaxy_da.models.networks import Encoder
from galaxy_da.models.symmetries import apply_symmetry
from training.adaptation.candidates import EncodedPairs
from training.adaptation.image_matching import ImageMatch
from training.adaptation.images import PairedImages
from training.losses import contrastive, mmd, paired
from training.parallel.processes import Share

__all__ = ["LEAST_PER_PROCESS", "FineTuningLosses", "Observer"]

LEAST_PER_PROCESS = 4
"""Galaxies of a batch per decoded image, and so the fewest pairs per process.

Decoding costs as much as encoding, so only one galaxy in four is decoded.
"""


@dataclass(frozen=True)
class Observer:
    """Images of a step: the target's own if `use_target`, and degraded ones if `degrade`."""

    pairs: PairedImages
    degrade: ImageMatch | None
    use_target: bool
    seed: int

    def __call__(self, rows: Tensor, step: int, share: Share) -> list[Tensor]:
        """Return each observation of this process's share of a batch, (n, planes, y, x)."""
        own = rows[share.own]
        observations = [self.pairs.target[own]] if self.use_target else []
        if self.degrade is not None:
            convolved, missing = self._convolved
            draws = torch.Generator().manual_seed(
                int(np.random.SeedSequence([self.seed, step]).generate_state(1)[0])
            )
            white = self.degrade.white_noise(len(rows), convolved.shape[-2:], draws)[share.own]
            observations.append(self.degrade.add_noise(convolved[own], missing, white))
        return observations

    @cached_property
    def _convolved(self) -> tuple[Tensor, Tensor]:
        assert self.degrade is not None
        return self.degrade.convolve(self.pairs.anchor)


class FineTuningLosses:
    """Losses of a batch, before their weights.

    The median squared distance of the held-out pairs in the network at the start is the temperature
    of the contrast.
    """

    def __init__(
        self,
        training: EncodedPairs,
        network: Encoder,
        held: PairedImages,
        observer: Observer,
        fabric: Fabric,
    ) -> None:
        self.training, self.observer, self.fabric = training, observer, fabric
        space = training.pairs.space
        self.widths = sorted({space.galaxy_latents, space.architecture.latents})
        self.decoder = copy.deepcopy(space.decoder).to(fabric.device)
        spread = training.latents.flatten(0, 1).var(0)
        self.scale = spread.clamp_min(1e-3).to(fabric.device)
        squared = (held.encode(network).mean - held.mean).square()
        self.temperatures = [
            float(squared[:, :width].sum(1).median().clamp_min(1e-3)) for width in self.widths
        ]

    def __call__(
        self, model: nn.Module, rows: Tensor, k: int, step: int, share: Share
    ) -> dict[str, Tensor]:
        """Return the losses of a batch in symmetry `k`, by the name of their weight."""
        device, own = self.fabric.device, rows[share.own]
        images = apply_symmetry(torch.cat(self.observer(rows, step, share)), k)
        images = images.to(device, memory_format=torch.channels_last)
        means = model(images).mean.split(len(own))
        wanted = self.training.latents[k, rows].to(device)
        decoded = Share(max(len(rows) // LEAST_PER_PROCESS, 1), share.number, share.processes)
        n = len(decoded)
        anchor = apply_symmetry(self.training.pairs.anchor[own[:n]], k).to(device)
        losses = [
            self._of_latents(share.whole(mean), wanted)
            | {"denoising": decoded.mean(self._denoising(mean[:n], anchor), n)}
            for mean in means
        ]
        return {name: torch.stack([loss[name] for loss in losses]).mean() for name in losses[0]}

    def _of_latents(self, mean: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        contrasts = [
            contrastive(mean[:, :width], wanted[:, :width], temperature)
            for width, temperature in zip(self.widths, self.temperatures, strict=True)
        ]
        galaxy = self.widths[0]
        return {
            "paired": paired(mean, wanted, self.scale),
            "contrastive": torch.stack(contrasts).mean(),
            "mmd": mmd(mean[:, :galaxy], wanted[:, :galaxy]),
        }

    def _denoising(self, mean: Tensor, image: Tensor) -> Tensor:
        with self.fabric.autocast():
            decoded = self.decoder(mean).float()
        error: Tensor = (decoded - image).square().mean()
        return error
