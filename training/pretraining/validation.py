"""Metrics of a pretrained space on the validation part of the sky."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.stats import mad_std
from scipy.ndimage import gaussian_filter

from galaxy_da.images.inputs import Inputs
from galaxy_da.images.preparation import Frame
from galaxy_da.space import LatentSpace

_ACTIVE_VARIANCE = 0.01
"""Variance of the posterior means above which a latent is in use (Burda et al. 2016)."""
_INNER_ARCSEC = 11.0
"""Radius within which light of the galaxy itself is expected."""
_SMOOTHING_PX, _LIGHT_SIGMA = 2.0, 2.0
_FEWEST_PIXELS, _ARTEFACT_SIGMA = 50, 5.0


def validation_metrics(space: LatentSpace, inputs: Inputs) -> dict[str, Any]:
    """Measure reconstruction, use of the latents, and the bias of the sky on prepared images.

    Returns ``validation_images``; ``reconstruction`` (mean squared error of the decoded posterior
    mean); ``kl_nat`` and ``kl_per_latent`` (mean divergence from the prior [nat], total and in
    order); ``active_latents`` (number in use); ``sky_bias`` (mean residual of empty sky over its
    noise, in the band with the largest; None in frames without sky).

    Latents averaged over the dihedral symmetries have lost the orientation, and would decode to a
    mixture of all eight. So images are encoded in their own orientation alone.
    """
    images = inputs.images[:, : len(space.frame.bands)]
    posterior = space.encode(inputs, space.anchor, pooled=False, precision="fp32")
    mean, variance = posterior.mean.numpy(), posterior.variance.numpy()
    decoded = space.decode(posterior.mean, precision="fp32")
    kl = 0.5 * (mean**2 + variance - 1 - np.log(variance)).mean(0, dtype=np.float64)
    sky = sky_biases(images.numpy(), decoded.numpy(), space.frame)
    return {
        "validation_images": len(images),
        "reconstruction": float((decoded - images).square().mean()),
        "kl_nat": float(kl.sum()),
        "active_latents": int((mean.var(0, dtype=np.float64) > _ACTIVE_VARIANCE).sum()),
        "sky_bias": max(sky, key=abs, default=None),
        "kl_per_latent": [round(float(value), 3) for value in kl],
    }


def sky_biases(images: np.ndarray, decoded: np.ndarray, frame: Frame) -> list[float]:
    """Return the mean of decoded minus observed sky over its noise, for each band that has sky.

    Sky pixels of a band of the (n, bands, y, x) images were observed (not exactly zero), lie
    farther than 11 arcsec from the centre, and every *other* band, smoothed, shows no light there.
    Noise is independent between bands, so this choice does not bias the noise of the measured band.
    It does bias its light: pixels that look dark hold less light than average, and a decoder that
    predicts the mean lies above them. A sample of one band chooses by that band itself. Pixels
    beyond 5 times the noise are then left out as artefacts of one band.
    """
    along = (np.arange(frame.pixels) - (frame.pixels - 1) / 2) * frame.pixel_scale_arcsec
    outskirts = np.hypot(along[:, None], along) > _INNER_ARCSEC
    if not outskirts.any():
        return []
    dark = _without_light(images, outskirts)
    biases = []
    for number in range(len(frame.bands)):
        band = images[:, number]
        others = np.delete(dark, number, axis=1) if dark.shape[1] > 1 else dark
        sky = outskirts & others.all(1) & (band != 0)
        if sky.sum() < _FEWEST_PIXELS:
            continue
        noise = max(float(mad_std(band[sky])), 1e-12)
        sky &= np.abs(band - np.median(band[sky])) < _ARTEFACT_SIGMA * noise
        residual = (decoded[:, number] - band)[sky].mean(dtype=np.float64)
        biases.append(float(residual / noise))
    return biases


def _without_light(images: np.ndarray, outskirts: np.ndarray) -> np.ndarray:
    """Mark pixels of (n, bands, y, x) images that show no light once smoothed."""
    smooth = gaussian_filter(images, (0, 0, _SMOOTHING_PX, _SMOOTHING_PX))
    sky = smooth[:, :, outskirts]
    middle = np.median(sky, 2)[..., None, None]
    sigma = mad_std(sky, axis=2)[..., None, None]
    return np.asarray(smooth < middle + _LIGHT_SIGMA * sigma)
