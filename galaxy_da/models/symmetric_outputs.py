"""What networks make of images in every symmetry of the square."""

from __future__ import annotations

import torch
from torch import Tensor

from galaxy_da.models.devices import best_device
from galaxy_da.models.networks import Encoder
from galaxy_da.models.symmetry import SYMMETRIES, turn
from galaxy_da.space import LatentSpace, SurveyEncoder

__all__ = ["features_by_symmetry", "means_by_symmetry"]

_BATCH = 512


def means_by_symmetry(space: LatentSpace, encoder: SurveyEncoder, images: Tensor) -> Tensor:
    """Encode images in each of the eight symmetries.

    Parameters
    ----------
    space : LatentSpace
    encoder : SurveyEncoder
        Of the images' survey.
    images : (n, planes, y, x) float tensor
        Prepared images.

    Returns
    -------
    (8, n, latents) float32 tensor
        Posterior means; the galaxy latents of a symmetric architecture are the same in all eight.
    """
    means = torch.stack(
        [space.encode(turn(images, k), encoder, pooled=False).mean for k in range(SYMMETRIES)]
    )
    if encoder.network.symmetric:
        galaxy = means[:, :, : space.galaxy_latents]
        galaxy[:] = galaxy.mean(0)
    return means


@torch.no_grad()
def features_by_symmetry(network: Encoder, images: Tensor) -> Tensor:
    """Return the last features of images in each of the eight symmetries.

    Parameters
    ----------
    network : Encoder
        Moved to the best device.
    images : (n, planes, y, x) float tensor
        Prepared images.

    Returns
    -------
    (8, n, features) float32 tensor on the CPU
    """
    device = best_device()
    network.to(device)
    return torch.stack(
        [
            torch.cat(
                [
                    network.features(batch.to(device)).float().cpu()
                    for batch in torch.split(turn(images, k), _BATCH)
                ]
            )
            for k in range(SYMMETRIES)
        ]
    )
