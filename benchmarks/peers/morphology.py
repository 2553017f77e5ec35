"""Measure morphology with statmorph (Rodriguez-Gomez et al. 2019, MNRAS 483, 4140).

The segmentation map is the central source above 1.5 sigma of the smoothed sky, with other sources
masked. Sersic profiles are convolved with the PSF.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

import numpy as np
import statmorph
from scipy import ndimage

from galaxy_da.images.noise import SIGMA_PER_MAD
from galaxy_da.surveys import NANOMAGGY_ZEROPOINT

PEER_COLUMNS = (
    "half_light_px",
    "sersic_half_light_px",
    "ellipticity",
    "sersic_ellipticity",
    "position_angle",
    "sersic_position_angle",
    "concentration",
    "asymmetry",
    "smoothness",
    "gini",
    "m20",
    "sersic_n",
    "mag",
    "petrosian_px",
    "flag",
)
"""Measured quantities; magnitudes are of fluxes in nanomaggies."""

_SMOOTHING_PX, _THRESHOLD = 1.5, 1.5
_BORDER = 8
_PSF_SIDE = 21
_MOFFAT_BETA = 3.5


def measure_morphology(
    images: np.ndarray, psf_fwhm_px: Sequence[float] | np.ndarray | None = None, workers: int = 1
) -> dict[str, np.ndarray]:
    """Run statmorph on one band of many cutouts.

    Parameters
    ----------
    images : (n, y, x) float array
        Flux per pixel, north up and east left, with the galaxy in the middle.
    psf_fwhm_px : (n,) float array, optional
        FWHM of a Moffat PSF; without it fits use no PSF.
    workers : int
        Number of processes.

    Returns
    -------
    dict of (n,) float array
        `PEER_COLUMNS`; NaN if nothing is detected in the middle or statmorph fails. ``flag`` is
        that of statmorph: 0 good, 1 suspicious, 2 bad, 4 catastrophic. Position angles run from
        north through east, 0 to 180 degrees.
    """
    fwhm = repeat(None) if psf_fwhm_px is None else map(float, psf_fwhm_px)
    if workers == 1:
        rows = [_measure(image, width) for image, width in zip(images, fwhm, strict=False)]
    else:
        with ProcessPoolExecutor(workers) as pool:
            rows = list(pool.map(_measure, images, fwhm, chunksize=8))
    table = np.array(rows, float).reshape(-1, len(PEER_COLUMNS))
    return {name: table[:, i] for i, name in enumerate(PEER_COLUMNS)}


def segment(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Segment a cutout into the central source and others.

    Parameters
    ----------
    image : (y, x) float array
        Sky-subtracted image.

    Returns
    -------
    central, others : (y, x) bool array
        Pixels of the central source, and of all others.
    sigma : float
        Sky noise per pixel.
    """
    sigma = SIGMA_PER_MAD * float(np.median(np.abs(_border(image))))
    smooth = ndimage.gaussian_filter(image, _SMOOTHING_PX)
    noise = sigma / (2 * math.sqrt(math.pi) * _SMOOTHING_PX)
    labels, count = ndimage.label(smooth > _THRESHOLD * noise)
    middle = image.shape[0] // 2, image.shape[1] // 2
    central = labels == labels[middle] if count and labels[middle] else np.zeros(image.shape, bool)
    return central, (labels > 0) & ~central, sigma


def _measure(image: np.ndarray, psf_fwhm_px: float | None) -> list[float]:
    """Return `PEER_COLUMNS` of one image."""
    nothing = [float("nan")] * len(PEER_COLUMNS)
    image = np.asarray(image, float)
    bad = ~np.isfinite(image)
    image = np.where(bad, 0.0, image)
    image = image - np.median(_border(image))
    central, others, sigma = segment(image)
    if not central.any() or sigma <= 0:
        return nothing
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            found = statmorph.SourceMorphology(
                image,
                central.astype(np.int64),
                1,
                mask=others | bad,
                weightmap=np.full(image.shape, sigma),
                psf=None if psf_fwhm_px is None else _moffat(psf_fwhm_px),
            )
        except Exception:  # any error of statmorph counts as its failure
            return nothing
        values = [
            found.rhalf_ellip,
            found.sersic_rhalf,
            found.ellipticity_asymmetry,
            found.sersic_ellip,
            _north_through_east(found.orientation_asymmetry),
            _north_through_east(found.sersic_theta),
            found.concentration,
            found.asymmetry,
            found.smoothness,
            found.gini,
            found.m20,
            found.sersic_n,
            NANOMAGGY_ZEROPOINT - 2.5 * math.log10(max(found.flux_ellip, 1e-30)),
            found.rpetro_circ,
            found.flag,
        ]
    return values if found.flag < 4 else nothing


def _north_through_east(angle_from_x: float) -> float:
    """Return the position angle [deg] of an angle [rad] from x (west) towards north."""
    return (math.degrees(angle_from_x) - 90) % 180


def _border(image: np.ndarray) -> np.ndarray:
    inside = np.zeros(image.shape, bool)
    inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
    return np.asarray(image[~inside])


def _moffat(fwhm_px: float) -> np.ndarray:
    alpha = fwhm_px / (2 * math.sqrt(2 ** (1 / _MOFFAT_BETA) - 1))
    y, x = np.mgrid[:_PSF_SIDE, :_PSF_SIDE] - (_PSF_SIDE - 1) / 2
    psf = (1 + (x**2 + y**2) / alpha**2) ** -_MOFFAT_BETA
    return np.asarray(psf / psf.sum())
