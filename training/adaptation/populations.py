"""Comparison of the galaxies of two samples in brightness, size and field.

Distributions of latents are matched only if both samples hold the same kind of galaxies. Fluxes and
sizes are measured on the prepared images, in the band of the frame nearest to r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import numpy as np
import torch
from astropy.coordinates import SkyCoord, match_coordinates_sky
from torch import Tensor

from galaxy_da.images.inputs import Inputs
from galaxy_da.images.preparation import Frame
from galaxy_da.space import SurveyEncoder

_R_NM = 640.0
_APERTURE_ARCSEC, _SIZE_ARCSEC = 4.0, 6.0  # radii of the sums of flux and of second moments
_SKY_ARCSEC = 8.0  # radius beyond which the sky level is measured
_FAINTEST_FLUX = 1.0  # nanomaggy, r = 22.5
_SIGMA = 1 / math.sqrt(8 * math.log(2))  # of a Gaussian PSF over its FWHM
_QUANTILES = np.linspace(0.05, 0.95, 19)
_FEWEST_SIZES = 30
_MOST_MAG, _MOST_SIZE = 0.5, 0.35  # the latter as a logarithm
_NEAR_DEG, _LEAST_SHARE = 2.0, 0.5


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Magnitudes [mag], logarithms of sizes [arcsec], and positions [ICRS deg] of n galaxies."""

    magnitude: np.ndarray
    log_size: np.ndarray
    ra: np.ndarray
    dec: np.ndarray


def measure_galaxies(
    inputs: Inputs, encoder: SurveyEncoder, frame: Frame, ra: np.ndarray, dec: np.ndarray
) -> Measured:
    """Measure aperture magnitudes, and sizes without the PSF of the survey's definition."""
    near = [
        math.inf if name is None else abs(math.log(encoder.survey.band(name).wavelength_nm / _R_NM))
        for name in encoder.bands
    ]
    plane = int(np.argmin(near))
    name = encoder.bands[plane]
    assert name is not None
    band, scale = encoder.survey.band(name), frame.pixel_scale_arcsec
    light = inputs.images[:, plane].sinh() * frame.softening_at(band.wavelength_nm) * scale**2
    axis = (torch.arange(frame.pixels) - (frame.pixels - 1) / 2) * scale
    square = axis[:, None] ** 2 + axis[None, :] ** 2
    inside = square < _SIZE_ARCSEC**2
    light = light - light[:, square > _SKY_ARCSEC**2].median(1).values[:, None, None]
    flux = _total(light * (square < _APERTURE_ARCSEC**2))
    moment = _total(light * square * inside) / _total(light * inside).clamp_min(_FAINTEST_FLUX) / 2
    psf = (band.psf_fwhm_arcsec * _SIGMA) ** 2
    size = (moment - psf).clamp_min(scale**2 / 16).sqrt()
    magnitude = 22.5 - 2.5 * flux.clamp_min(_FAINTEST_FLUX).log10()
    return Measured(magnitude=magnitude.numpy(), log_size=size.log().numpy(), ra=ra, dec=dec)


def compare_populations(anchor: Measured, target: Measured) -> tuple[dict[str, Any], str]:
    """Compare two samples; return a record and a warning, empty if nothing differs.

    The record has ``brightness_mag`` and ``log_size``: mean differences of their quantiles;
    ``medians`` of anchor and target; ``near_share`` of the target's galaxies within 2 degrees, or
    three times the usual spacing, of an anchor galaxy; ``match``, false if brightness or size
    differ.
    """
    distance = _quantile_distance(anchor.magnitude, target.magnitude)
    limit = np.median(anchor.magnitude)  # brighter galaxies have sizes, in both surveys
    bright = [side.log_size[side.magnitude < limit] for side in (anchor, target)]
    enough = min(map(len, bright)) >= _FEWEST_SIZES
    size = _quantile_distance(*bright) if enough else math.nan
    own, other = (SkyCoord(s.ra, s.dec, unit="deg") for s in (anchor, target))
    _, spacing, _ = match_coordinates_sky(own, own, nthneighbor=2)
    _, separation, _ = match_coordinates_sky(other, own)
    near = max(_NEAR_DEG * u.deg, 3 * np.median(spacing))
    share = float(np.mean(separation < near))
    magnitudes = [float(np.median(side.magnitude)) for side in (anchor, target)]
    sizes = [float(np.exp(np.median(log))) if len(log) else math.nan for log in bright]
    known = [None if math.isnan(value) else value for value in (*sizes, size)]
    record = {
        "brightness_mag": distance,
        "log_size": known[2],
        "medians": {"magnitude": magnitudes, "size_arcsec": known[:2]},
        "near_share": share,
        "match": not (distance > _MOST_MAG or size > _MOST_SIZE),
    }
    told = []
    if distance > _MOST_MAG:
        medians = "medians {:.2f} and {:.2f}".format(*magnitudes)
        told.append(f"magnitudes differ by {distance:.2f} mag ({medians})")
    if size > _MOST_SIZE:
        medians = "medians {:.2f} and {:.2f} arcsec".format(*sizes)
        told.append(f"sizes differ by a factor of {math.exp(size):.2f} ({medians})")
    if share < _LEAST_SHARE:
        told.append(f"only {share:.0%} of the target's galaxies lie near an anchor galaxy")
    return record, ", ".join(told)


def _total(images: Tensor) -> Tensor:
    return images.flatten(1).sum(1)


def _quantile_distance(first: np.ndarray, second: np.ndarray) -> float:
    differences = np.quantile(first, _QUANTILES) - np.quantile(second, _QUANTILES)
    return float(np.abs(differences).mean())
