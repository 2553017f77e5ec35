"""Whether a trained space uses its latents and draws an unbiased sky.

``python -m benchmarks.latent_usage SPACE SAMPLE`` prints it, latent by latent.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.measures.reconstruction import active_latents, encode_for_decoder, kl_per_latent
from benchmarks.measures.sky_residuals import sky_residuals
from benchmarks.support.tables import print_rows
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.tables import Sample
from galaxy_da.space import LatentSpace

__all__ = ["health"]


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
        ``active_latents`` (number in use); ``sky_bias`` (mean residual of empty sky over its noise
        in the band where it is furthest from zero, see `sky_residuals`; None where the frame shows
        no sky).
    """
    posterior = encode_for_decoder(space, images, "fp32")
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


def main(arguments: list[str]) -> None:
    """Print the health of a space on a sample of its anchor."""
    space, sample = LatentSpace.load(arguments[0]), Sample(arguments[1])
    encoder = space.encoder(space.anchor)
    images, ok = load_images(sample, np.arange(len(sample)), encoder, space.frame)
    found = health(space, images[ok])
    kl = found.pop("kl_per_latent")
    print_rows("Health", [found])
    galaxy = space.galaxy_latents
    print_rows(
        "Divergence of each latent from the prior [nat]",
        [
            {"latent": k, "kind": "galaxy" if k < galaxy else "view", "kl": value}
            for k, value in enumerate(kl)
        ],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
