"""Definitions that are wrong: the survey observes otherwise than its definition says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from catalogs.simulation.observing import pixel_noise
from galaxy_da.surveys import Survey

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
    spoil : callable, optional
        Function of (n, bands, y, x) images with and without noise, and of the (bands,) noise per
        pixel; it returns spoiled images. All are in the survey's unit.
    lacks_band : bool
        Cutouts lack the reddest band of the definition.
    """

    psf: float = 1.0
    shift_nm: float = 0.0
    spoil: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
    lacks_band: bool = False

    def truth(self, survey: Survey) -> Survey:
        """Return the survey as it observes; `survey` is its definition."""
        bands = tuple(
            band.model_copy(
                update={
                    "psf_fwhm_arcsec": band.psf_fwhm_arcsec * self.psf,
                    "wavelength_nm": band.wavelength_nm + self.shift_nm,
                }
            )
            for band in survey.bands
        )
        return survey.model_copy(update={"bands": bands})

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
    """Smooth the noise alone, and keep its variance."""
    rough = (flux - clean).numpy()
    smooth = gaussian_filter(rough, (0, 0, _CORRELATED_PX, _CORRELATED_PX))
    return clean + torch.from_numpy(smooth * (rough.std() / smooth.std()))


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
    "correlated-noise": Fault(spoil=_correlated),
    "sky-residual": Fault(spoil=_sky_residual),
    "stretch": Fault(spoil=_stretched),
    "missing-band": Fault(lacks_band=True),
}
"""Faults by the names of ``--wrong``. With a positive zeropoint, images are brighter than said."""
