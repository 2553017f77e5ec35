"""Definitions that are wrong: the survey observes otherwise than its definition says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from astropy.stats import gaussian_fwhm_to_sigma
from scipy.ndimage import gaussian_filter
from torch import Tensor

from catalogs.simulation.observing import pixel_noise
from galaxy_da.surveys import Band, Survey

_CORRELATED_PX = 0.8  # standard deviation of the smoothing of the noise [pixel]
_SKY_RESIDUAL = 0.5  # of the noise per pixel
_STRETCH, _KNEE = 0.85, 10.0  # slope of bright light, and where it begins [noise per pixel]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way in which a survey differs from its definition.

    Attributes
    ----------
    psf : float
        True PSF width over that of the definition.
    shift_nm : float
        True wavelength of every band less that of the definition [nm].
    smoothed_px : float
        Standard deviation of the smoothing of the noise [pixel]. A pixel has the noise that the
        definition says, but noise that is correlated hides more: the truth is a survey of white
        noise as strong within the PSF, and so shallower.
    spoil : callable, optional
        Function of (n, bands, y, x) images with and without noise, and of the (bands,) noise per
        pixel by the definition; it returns spoiled images. All are in the survey's unit.
    lacks_band : bool
        Cutouts lack the reddest band of the definition.
    """

    psf: float = 1.0
    shift_nm: float = 0.0
    smoothed_px: float = 0.0
    spoil: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    lacks_band: bool = False

    def truth(self, survey: Survey) -> Survey:
        """Return the survey as it observes; `survey` is its definition."""
        bands = tuple(
            band.model_copy(
                update={
                    "psf_fwhm_arcsec": band.psf_fwhm_arcsec * self.psf,
                    "depth_mag": band.depth_mag - self._lost_depth(survey, band),
                    "wavelength_nm": band.wavelength_nm + self.shift_nm,
                }
            )
            for band in survey.bands
        )
        return survey.model_copy(update={"bands": bands})

    def _lost_depth(self, survey: Survey, band: Band) -> float:
        """Return how much shallower correlated noise makes a band [mag].

        Noise smoothed by a Gaussian of width s, and scaled to the variance of white noise, has
        4 pi s^2 p^2 / (s^2 + p^2) times its variance behind a Gaussian PSF of width p.
        """
        if not self.smoothed_px:
            return 0.0
        psf = band.psf_fwhm_arcsec * gaussian_fwhm_to_sigma / survey.pixel_scale_arcsec
        square = (self.smoothed_px * psf) ** 2 / (self.smoothed_px**2 + psf**2)
        return 1.25 * math.log10(4 * math.pi * square)

    def bands(self, survey: Survey, observed: tuple[str, ...]) -> tuple[str, ...]:
        """Return the bands that cutouts have, of those `observed`."""
        if not self.lacks_band or len(observed) < 2:
            return observed
        reddest = max(observed, key=lambda name: survey.band(name).wavelength_nm)
        return tuple(name for name in observed if name != reddest)


def noise_per_pixel(survey: Survey, bands: tuple[str, ...]) -> Tensor:
    """Return the (bands,) sky noise of a cutout's pixel by the definition [survey's unit]."""
    known = [survey.band(name) for name in bands]
    depth, psf = (
        np.array([getattr(band, name) for band in known])
        for name in ("depth_mag", "psf_fwhm_arcsec")
    )
    pixel = survey.pixel_scale_arcsec
    unit_pixel = survey.flux_pixel_scale_arcsec or pixel
    sigma = pixel_noise(depth, psf, pixel) * (unit_pixel / pixel) ** 2 / survey.nanomaggy_per_unit
    return torch.from_numpy(sigma).float()[:, None, None]


def _zeropoint(magnitudes: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda flux, clean, noise: flux * 10 ** (0.4 * magnitudes)


def _correlated(flux: Tensor, clean: Tensor, noise: Tensor) -> Tensor:
    """Smooth the noise alone, and give a pixel the noise of the definition."""
    smooth = gaussian_filter((flux - clean).numpy(), (0, 0, _CORRELATED_PX, _CORRELATED_PX))
    scale = noise.numpy() / smooth.std(axis=(0, 2, 3))[:, None, None]
    return clean + torch.from_numpy(smooth * scale)


def _sky_residual(flux: Tensor, clean: Tensor, noise: Tensor) -> Tensor:
    return flux + _SKY_RESIDUAL * noise


def _stretched(flux: Tensor, clean: Tensor, noise: Tensor) -> Tensor:
    """Compress bright light, as a picture that is read through a wrong stretch."""
    knee = _KNEE * noise
    return torch.sinh(_STRETCH * torch.asinh(flux / knee)) * knee / _STRETCH


FAULTS: dict[str, Fault] = {
    "psf+30": Fault(psf=1.3),
    "psf-30": Fault(psf=0.7),
    "zeropoint+0.1": Fault(spoil=_zeropoint(0.1)),
    "zeropoint-0.1": Fault(spoil=_zeropoint(-0.1)),
    "zeropoint+0.3": Fault(spoil=_zeropoint(0.3)),
    "zeropoint-0.3": Fault(spoil=_zeropoint(-0.3)),
    "band+40": Fault(shift_nm=40.0),
    "correlated-noise": Fault(smoothed_px=_CORRELATED_PX, spoil=_correlated),
    "sky-residual": Fault(spoil=_sky_residual),
    "stretch": Fault(spoil=_stretched),
    "missing-band": Fault(lacks_band=True),
}
"""Faults by the names of ``--wrong``. With a positive zeropoint, images are brighter than said."""
