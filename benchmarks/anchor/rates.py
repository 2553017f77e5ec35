"""Rate and distortion of spaces and of principal components."""

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
    """Rate and distortion of one space, or of one number of principal components.

    Attributes
    ----------
    name : str
        Name of the space.
    latents, active : int
        Number of latents, and of those in use.
    bits : float
        Mean divergence of a posterior from the prior; NaN for principal components.
    mse, psnr, ssim : float
        Comparison of decoded and observed images, by `compare_images`.
    """

    name: str
    latents: int
    active: int
    bits: float
    mse: float
    psnr: float
    ssim: float

    def as_dict(self) -> Mapping[str, Any]:
        """Return everything as plain values, None for unknown ones."""
        return {k: None if v != v else v for k, v in asdict(self).items()}


def rate(name: str, encoded: EncodedSample, span: float) -> Rate:
    """Measure a space on a sample.

    Parameters
    ----------
    name : str
        Name of the space.
    encoded : EncodedSample
        Sample encoded and decoded by its anchor.
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
    """Measure principal components: each half of the images by components of the other half.

    Parameters
    ----------
    images : (n, bands, y, x) float tensor
        Images in asinh units.
    sizes : sequence of int
        Numbers of components; those not less than half the number of images are left out.
    span : float
        Range of values for PSNR and SSIM.
    """
    half = len(images) // 2
    first, second = images[:half], images[half:]
    rates = []
    for size in (size for size in sizes if size < half):
        rebuilt = [pca_reconstruction(a, b, size) for a, b in ((second, first), (first, second))]
        measured = compare_images(torch.cat(rebuilt), images, span)
        rates.append(
            Rate(name=f"PCA-{size}", latents=size, active=size, bits=float("nan"), **measured)
        )
    return tuple(rates)
