"""Check rows against the image that they were inferred from.

A row without a detected galaxy lies outside the domain. Total magnitudes and sizes are wrong where
the light reaches the edge of the image, and doubtful where the inferred magnitude differs from the
measured one. Both set a flag and withhold the columns that depend on all of the light.
"""

from __future__ import annotations

import numpy as np

from galaxy_da.extraction.summary import Summaries, photometry_of
from galaxy_da.images.measurements import APERTURE_ARCSEC, PETROSIAN_RADII, Measured
from galaxy_da.images.preparation import Frame
from galaxy_da.models.domain import Domain, DomainScores
from galaxy_da.models.probes import Predicted

TOTALS = ("half_light_arcsec", "concentration", "r_mag", "bulge_fraction")
"""Names of the columns that depend on all of a galaxy's light."""

FLUXES = ("r_mag", "g_minus_r")
"""Names of the columns that depend on the zeropoint."""

_EDGE_SHARE = 0.2  # of an exponential disc cut at 2.5 half-light radii, as in the fit of the probes
MAGNITUDE = "r_mag"
"""Name of the column that is compared with the measured magnitude."""

NOT_DETECTED = f"no galaxy detected within {APERTURE_ARCSEC:g} arcsec of the middle"
"""Reason for which a row lies outside the domain, beside those of the domain's model."""

_DETECTED = 5.0  # least signal over noise of a galaxy in any band, as in the fit of the domain
_R_NM = 642.0
_NEAR = 0.12  # logarithm of the ratio of wavelengths up to which a band stands for r
_SIGMAS, _LEAST_MAG = 3.0, 0.3
_MOST_ERROR = 1 / 3  # of an inferred magnitude; a larger one excuses no larger difference
_MAG_OF_SHARE = 2.5 / np.log(10)


def domain_scores(domain: Domain, summaries: np.ndarray, frame: Frame) -> DomainScores:
    """Return the domain scores of (n, inputs) summaries.

    A row whose signal in the aperture is less than five times the noise in every band shows no
    galaxy, and lies outside whatever the model says.
    """
    seen = np.asarray((photometry_of(summaries, frame).signal > _DETECTED).any(1))
    return domain.score(summaries).also(~seen, NOT_DETECTED)


def light_at_edge(measured: Measured) -> np.ndarray:
    """Return True, (n,), where much of the light lies beyond the image."""
    return np.asarray(~measured.complete & (measured.edge_share > _EDGE_SHARE))


def magnitudes_differ(inferred: Predicted | None, summaries: Summaries, frame: Frame) -> np.ndarray:
    """Return True, (n,), where inferred and measured r differ by 3 sigma and 0.3 mag.

    The errors of both are added in quadrature; the inferred one counts up to a third of a
    magnitude, so that a value that says little is not kept beside one that says more. Rows without
    a band near r are not compared.
    """
    if inferred is None:
        return np.zeros(len(summaries.values), bool)
    measured = summaries.measured
    plane = int(np.abs(np.log(np.array(frame.wavelengths_nm) / _R_NM)).argmin())
    flux = measured.petrosian_flux[:, plane]
    reach = np.fmin(PETROSIAN_RADII * measured.petrosian_arcsec, measured.reach_arcsec)
    noise = measured.aperture_noise[:, plane] * np.maximum(reach / APERTURE_ARCSEC, 1)
    wavelength = photometry_of(summaries.values, frame).wavelengths_nm[:, plane]
    near = np.abs(np.log(wavelength / _R_NM)) < _NEAR
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.abs(inferred.value - (22.5 - 2.5 * np.log10(flux)))
        error = np.hypot(np.minimum(inferred.error, _MOST_ERROR), _MAG_OF_SHARE * noise / flux)
    comparable = near & (flux > 0) & np.isfinite(difference)
    return np.asarray(comparable & (difference > np.maximum(_SIGMAS * error, _LEAST_MAG)))
