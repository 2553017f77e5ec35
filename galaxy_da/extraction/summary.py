"""Summarise cutouts in numbers, from which probes and the domain score are computed.

A summary holds the latents and their log variances, the conditions of the instrument, what was
measured on the image, and how far the decoded image is from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from galaxy_da.images.inputs import Inputs
from galaxy_da.images.instrument import PER_BAND, PER_CUTOUT, wavelength_ratio
from galaxy_da.images.measurements import APERTURE_ARCSEC, Measured, measure
from galaxy_da.images.preparation import Frame
from galaxy_da.models.devices import Precision
from galaxy_da.models.networks import Posterior
from galaxy_da.space import LatentSpace

_SOFTENING = 0.1  # of asinh fluxes [nanomaggy]
_MAGNITUDE = 2.5 / np.log(10)
_CENTRE = 0.25  # side of the central part of the frame over the whole
_POOL = 4  # side of blocks of residuals [pixel]
_LEAST = 1e-3


@dataclass(frozen=True, kw_only=True)
class Summaries:
    """Numbers of n cutouts.

    Attributes
    ----------
    values : (n, k) float32 array
        Summaries; the first number is the measured magnitude.
    measured : Measured
        Measurements on the images.
    reconstruction_error : (n,) float32 array
        Mean squared difference of decoded and prepared image [asinh units].
    """

    values: np.ndarray
    measured: Measured
    reconstruction_error: np.ndarray


class Photometry(NamedTuple):
    """Aperture magnitudes (AB), signal over noise, and wavelengths [nm], each (n, bands)."""

    magnitudes: np.ndarray
    signal: np.ndarray
    wavelengths_nm: np.ndarray


def photometry_of(values: np.ndarray, frame: Frame) -> Photometry:
    """Return the photometry in (n, k) summaries; magnitude and signal of a missing band are 0."""
    bands = len(frame.bands)
    inner, signal = 1 + bands, 1 + 2 * bands + 2 * (bands - 1)
    conditions = torch.from_numpy(values[:, -(PER_BAND * bands + PER_CUTOUT) :])
    ratio = wavelength_ratio(conditions, bands).numpy()
    return Photometry(
        values[:, inner : inner + bands],
        np.sinh(values[:, signal : signal + bands]),
        ratio * np.array(frame.wavelengths_nm),
    )


def summarise(
    space: LatentSpace, inputs: Inputs, posterior: Posterior, precision: Precision = "auto"
) -> Summaries:
    """Summarise prepared images with their posteriors."""
    measured = measure(inputs, space.frame)
    residual, seen = _residuals(space, inputs, posterior.mean, precision)
    parts = [
        _photometry(measured),
        _shapes(measured, inputs, space),
        _residual_numbers(residual, seen),
        posterior.mean.numpy(),
        np.log(posterior.variance.numpy()),
        inputs.conditions.cpu().numpy(),
    ]
    values = np.concatenate([np.asarray(part, np.float32) for part in parts], 1)
    return Summaries(
        values=np.nan_to_num(values, posinf=0.0, neginf=0.0),
        measured=measured,
        reconstruction_error=_mean_square(residual, seen),
    )


def reconstruction_error(
    space: LatentSpace, inputs: Inputs, mean: Tensor, precision: Precision = "auto"
) -> np.ndarray:
    """Return the mean squared difference of decoded latents and prepared images [asinh units].

    `mean` (n, latents) are the posterior means of `inputs`. Planes without data do not count.
    """
    return _mean_square(*_residuals(space, inputs, mean, precision))


def asinh_magnitude(flux: np.ndarray) -> np.ndarray:
    """Return asinh magnitudes of fluxes [nanomaggy] (Lupton et al. 1999, AJ 118, 1406)."""
    scaled = np.arcsinh(flux / (2 * _SOFTENING)) + np.log(_SOFTENING)
    return np.asarray(22.5 - _MAGNITUDE * scaled)


def _photometry(m: Measured) -> np.ndarray:
    """Magnitudes, of which the first is that of the band nearest to r, colours and S/N."""
    total, inner = asinh_magnitude(m.petrosian_flux), asinh_magnitude(m.aperture_flux)
    bands = total.shape[1]
    order = [min(1, bands - 1), *(b for b in range(bands) if b != min(1, bands - 1))]
    first = total[:, order[0]]
    for band in order[1:]:
        first = np.where(np.isfinite(first), first, total[:, band])
    colours = [
        part[:, band] - part[:, band + 1] for part in (total, inner) for band in range(bands - 1)
    ]
    signal = np.arcsinh(m.aperture_flux / m.aperture_noise)
    columns = np.column_stack([first, total, inner, *colours, signal])
    return np.asarray(np.nan_to_num(columns))


def _shapes(m: Measured, inputs: Inputs, space: LatentSpace) -> np.ndarray:
    radius, half = (
        np.log(np.maximum(m.petrosian_arcsec, 0.1)),
        np.log(np.maximum(m.half_light_arcsec, 0.1)),
    )
    e = (1 - m.axis_ratio) / (1 + m.axis_ratio)
    doubled = 2 * np.radians(m.position_angle)
    bands = len(space.frame.bands)
    conditions = inputs.conditions.cpu().numpy()
    psf = conditions[:, 1 : PER_BAND * bands : PER_BAND].max(1) if conditions.shape[1] else 0 * half
    columns = [
        radius,
        half,
        half - 0.35 * psf,
        radius - half,
        m.concentration,
        np.arcsinh(m.asymmetry),
        e,
        e * np.cos(doubled),
        e * np.sin(doubled),
        np.log(np.maximum(m.reach_arcsec, APERTURE_ARCSEC)),
        radius - np.log(np.maximum(m.reach_arcsec, APERTURE_ARCSEC)),
        m.complete,
        np.isfinite(m.petrosian_arcsec),
    ]
    return np.asarray(np.nan_to_num(np.column_stack(columns)))


def _residuals(
    space: LatentSpace, inputs: Inputs, mean: Tensor, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Return decoded less prepared images on the first grid, and 1 where there are data."""
    bands = len(space.frame.bands)
    images = inputs.images[:, :bands].float().cpu()
    seen = (images != 0).float()
    return space.decode(mean, precision=precision).sub_(images).mul_(seen), seen


def _mean_square(residual: Tensor, seen: Tensor) -> np.ndarray:
    """Mean square of residuals over the pixels with data."""
    count = seen.sum((1, 2, 3)).clamp_min(1)
    return np.asarray((residual.square().sum((1, 2, 3)) / count).numpy())


def _residual_numbers(residual: Tensor, seen: Tensor) -> np.ndarray:
    """Logarithms of sizes of residuals: of each band, in the middle, in blocks and in lines."""
    side = residual.shape[-1]
    low = int(side * (1 - _CENTRE) / 2)
    middle = residual[..., low : side - low, low : side - low]
    pool = min(_POOL, side)
    blocks = functional.avg_pool2d(residual, pool)
    mean = residual.sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp_min(1)
    differing = functional.avg_pool2d((residual - mean).mul_(seen), pool)
    numbers = [
        residual.square().mean((2, 3)).sqrt(),
        middle.square().mean((2, 3)).sqrt(),
        middle.mean((2, 3)).abs(),
        blocks.abs().amax((2, 3)),
        differing.abs().amax((2, 3)),
        residual.mean(2).abs().amax(2),
        residual.mean(3).abs().amax(2),
        seen.mean((2, 3)),
    ]
    return np.asarray(torch.cat(numbers, 1).clamp_min(_LEAST).log().numpy())
