"""Outputs of an encoder for images in each of the eight dihedral symmetries."""

from __future__ import annotations

import torch
from torch import Tensor

from galaxy_da.images.inputs import Inputs
from galaxy_da.models.devices import best_device
from galaxy_da.models.networks import Encoder
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry

__all__ = ["features_by_symmetry", "means_by_symmetry"]

_BATCH = 512


def means_by_symmetry(network: Encoder, inputs: Inputs) -> Tensor:
    """Return posterior means of inputs in each of the symmetries, (8, n, latents) float32.

    Galaxy latents of a symmetric architecture are the same in all eight.
    """
    means = torch.stack(
        [network.encode(_rotated(inputs, k), pooled=False).mean for k in range(SYMMETRIES)]
    )
    if network.symmetric:
        galaxy = means[:, :, : network.galaxy_latents]
        galaxy[:] = galaxy.mean(0)
    return means


@torch.no_grad()
def features_by_symmetry(network: Encoder, inputs: Inputs) -> Tensor:
    """Return the last features of inputs in each symmetry, (8, n, features) float32 on the CPU.

    The network is moved to the best device.
    """
    device = best_device()
    network.to(device)
    features = [  # of all images in one symmetry, then in the next
        network.features(batch.to(device)).float().cpu()
        for k in range(SYMMETRIES)
        for batch in _rotated(inputs, k).split(_BATCH)
    ]
    joined = torch.cat(features)
    return joined.reshape(SYMMETRIES, len(inputs), joined.shape[1])


def _rotated(inputs: Inputs, symmetry: int) -> Inputs:
    return inputs.with_images(apply_symmetry(inputs.images, symmetry))
