"""Rate and distortion: what a space spends on a galaxy, and how well it then redraws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.measures.image_quality import compare_images, pca_reconstruction
from benchmarks.measures.reconstruction import EncodedSample, active_latents, kl_per_latent

__all__ = ["Rate", "pca_rates", "rate"]

_NAT_IN_BITS = float(1 / np.log(2))


@dataclass(frozen=True, kw_only=True)
class Rate:
    """One space, or one number of principal components.

    Attributes
    ----------
    name : str
        Of the space.
    latents, active : int
        How many there are, and how many are in use.
    bits : float
        Mean divergence of a posterior from the prior; NaN for principal components.
    mse, psnr, ssim : float
        Decoded against observed, as `benchmarks.measures.image_quality.compare_images`.
    """

    name: str
    latents: int
    active: int
    bits: float
    mse: float
    psnr: float
    ssim: float

    def as_dict(self) -> Mapping[str, Any]:
        """Return everything as plain values, null for what is not known."""
        return {k: None if v != v else v for k, v in asdict(self).items()}


def rate(name: str, encoded: EncodedSample, span: float) -> Rate:
    """Measure a space on a sample.

    Parameters
    ----------
    name : str
        What to call it.
    encoded : EncodedSample
        The sample through its anchor.
    span : float
        Range of values for PSNR and SSIM.
    """
    return Rate(
        name=name,
        latents=encoded.mean.shape[1],
        active=int(active_latents(encoded.mean).sum()),
        bits=float(kl_per_latent(encoded.mean, encoded.variance).sum() * _NAT_IN_BITS),
        **compare_images(encoded.decoded, encoded.images, span),
    )


def pca_rates(images: Tensor, sizes: Sequence[int], span: float) -> tuple[Rate, ...]:
    """Measure principal components, each half of the images by those fitted to the other half.

    Parameters
    ----------
    images : (n, bands, y, x) float tensor
        In asinh units.
    sizes : sequence of int
        Numbers of components; those that half the images do not determine are left out.
    span : float
        Range of values for PSNR and SSIM.
    """
    half = len(images) // 2
    first, second = images[:half], images[half:]
    found = []
    for size in (size for size in sizes if size < half):
        rebuilt = [pca_reconstruction(a, b, size) for a, b in ((second, first), (first, second))]
        measured = compare_images(torch.cat(rebuilt), images, span)
        found.append(
            Rate(name=f"PCA-{size}", latents=size, active=size, bits=float("nan"), **measured)
        )
    return tuple(found)
