"""Metrics of a pretrained space on the validation part of the sky."""

from __future__ import annotations

from typing import Any

import numpy as np

from galaxy_da.images.inputs import Inputs
from galaxy_da.models.devices import Precision
from galaxy_da.models.networks import Posterior
from galaxy_da.space import LatentSpace
from training.pretraining.sky_residuals import sky_residuals

__all__ = [
    "ACTIVE_VARIANCE", "active_latents", "encode_for_decoder", "kl_per_latent",
    "validation_metrics",
]  # fmt: skip

ACTIVE_VARIANCE = 0.01
"""Variance of the posterior means above which a latent is in use (Burda et al. 2016)."""


def validation_metrics(space: LatentSpace, inputs: Inputs) -> dict[str, Any]:
    """Measure reconstruction, use of the latents, and the bias of the sky on prepared images.

    Returns ``validation_images``; ``reconstruction`` (mean squared error of the decoded posterior
    mean); ``kl_nat`` and ``kl_per_latent`` (mean divergence from the prior [nat], total and in
    order); ``active_latents`` (number in use); ``sky_bias`` (mean residual of empty sky over its
    noise, in the band with the largest; None in frames without sky).
    """
    images = inputs.images[:, : len(space.frame.bands)]
    posterior = encode_for_decoder(space, inputs, "fp32")
    mean, variance = posterior.mean.numpy(), posterior.variance.numpy()
    decoded = space.decode(posterior.mean, precision="fp32")
    kl = kl_per_latent(mean, variance)
    sky = [band.residual for band in sky_residuals(images, decoded, space.frame)]
    return {
        "validation_images": len(images),
        "reconstruction": float((decoded - images).square().mean()),
        "kl_nat": float(kl.sum()),
        "active_latents": int(active_latents(mean).sum()),
        "sky_bias": max(sky, key=abs, default=None),
        "kl_per_latent": [round(float(value), 3) for value in kl],
    }


def encode_for_decoder(
    space: LatentSpace, inputs: Inputs, precision: Precision = "auto"
) -> Posterior:
    """Encode the anchor's images with the latents that the decoder needs to reconstruct them.

    Latents averaged over the dihedral symmetries have lost the orientation, and would decode to a
    mixture of all eight. So images are encoded in their own orientation alone, unless nuisance
    latents hold it.
    """
    pooled = space.architecture.nuisance_latents > 0
    return space.encode(inputs, space.anchor, pooled=pooled, precision=precision)


def kl_per_latent(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """(latents,) mean divergences of (n, latents) posteriors from the prior [nat]."""
    return np.asarray(0.5 * (mean**2 + variance - 1 - np.log(variance)).mean(0, dtype=np.float64))


def active_latents(mean: np.ndarray) -> np.ndarray:
    """Mark the latents in use: their (n, latents) means vary by over `ACTIVE_VARIANCE`."""
    return np.asarray(mean.var(0, dtype=np.float64) > ACTIVE_VARIANCE)
