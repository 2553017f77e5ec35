"""Whether a trained space uses its latents and draws an unbiased sky."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from galaxy_da.space import LatentSpace
from training.objectives import kl_divergence

__all__ = ["health", "sky_bias"]

_ACTIVE_KL = 0.1
"""Mean divergence above which a latent counts as used [nat]."""
_MAD_TO_SIGMA = 1.4826


def health(space: LatentSpace, images: Tensor) -> dict[str, Any]:
    """Measure reconstruction, use of the latents, and the sky.

    Parameters
    ----------
    space : LatentSpace
    images : (n, bands, y, x) float tensor
        The anchor's, prepared, from outside the training part of the sky.

    Returns
    -------
    dict
        ``validation_images``; ``reconstruction`` (mean squared error of the decoded posterior
        mean); ``kl_nat`` and ``kl_per_latent`` (mean divergence from the prior [nat], in order);
        ``active_latents`` (how many exceed 0.1 nat); ``sky_bias`` (see `sky_bias`).
    """
    posterior = space.encode(images, space.anchor, precision="fp32")
    kl = kl_divergence(posterior).mean(0)
    decoded = space.decode(posterior.mean, precision="fp32")
    return {
        "validation_images": len(images),
        "reconstruction": float((decoded - images).square().mean()),
        "kl_nat": float(kl.sum()),
        "active_latents": int((kl > _ACTIVE_KL).sum()),
        "sky_bias": sky_bias(images, decoded),
        "kl_per_latent": [round(float(value), 3) for value in kl],
    }


def sky_bias(images: Tensor, decoded: Tensor) -> float | None:
    """Mean residual of the sky over its noise.

    Parameters
    ----------
    images, decoded : (n, bands, y, x) float tensors
        What was seen, zero where nothing was, and what was decoded.

    Returns
    -------
    float or None
        Of the observed pixels outside the circle that the frame encloses: mean of decoded minus
        seen over 1.4826 times the median absolute deviation of what was seen, band by band; the
        value furthest from zero. None where stamps leave no such pixel.
    """
    along = torch.linspace(-1, 1, images.shape[-1])
    corners = torch.hypot(along[:, None], along) > 1
    seen, drawn = (some[..., corners].transpose(0, 1).flatten(1) for some in (images, decoded))
    observed = seen.masked_fill(seen == 0, torch.nan)
    middle = observed.nanmedian(1, keepdim=True).values
    noise = _MAD_TO_SIGMA * (observed - middle).abs().nanmedian(1).values
    bias = (drawn - observed).nanmean(1) / noise
    return float(bias[bias.abs().argmax()]) if bool(torch.isfinite(bias).all()) else None
