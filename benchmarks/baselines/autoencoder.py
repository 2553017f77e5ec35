"""Trainable copies of an encoder and of the space's decoder, for the trained baselines."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from galaxy_da.images.inputs import Inputs
from galaxy_da.models.networks import Decoder, Encoder, Posterior


class Pass(NamedTuple):
    """Light of one forward pass in each grid, its posterior, and a decoded draw from it."""

    images: Tensor
    posterior: Posterior
    decoded: Tensor


class Autoencoder(nn.Module):
    """Copies of both networks, ready to train; the originals stay unchanged."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.decoder = copy.deepcopy(decoder)
        self.requires_grad_(True).train().to(memory_format=torch.channels_last)

    def forward(self, images: Tensor, conditions: Tensor) -> Pass:
        """Encode images and decode one draw from each posterior, zero in pixels without data."""
        posterior: Posterior = self.encoder(Inputs(images, conditions))
        draw = posterior.mean + posterior.variance.sqrt() * torch.randn_like(posterior.mean)
        decoded: Tensor = self.decoder(draw)
        light = images[:, : decoded.shape[1]]
        return Pass(light, posterior, decoded.float() * (light != 0))


def shuffled(n: int, size: int) -> Iterator[Tensor]:
    """Yield the row numbers of one epoch in batches; the last may be shorter."""
    yield from torch.split(torch.randperm(n), size)
