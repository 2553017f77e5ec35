"""Observe patches of sky with a survey: PSF, pixels, camera angle, noise and artefacts.

The PSF is a Moffat profile with beta 3.5, whose transfer function is elementary. Its width is that
of stars in the survey's images, so it includes the pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from catalogs.simulation.artefacts import add_artefacts
from catalogs.simulation.conditions import WIDEST_DRAW, Conditions
from catalogs.simulation.patches import (
    FIELD_ARCSEC,
    STAMP_ARCSEC,
    Frequencies,
    Sky,
    float_tensor,
    nanomaggies,
    unit_phase,
)
from galaxy_da.surveys import Band, Survey

_FADED = 11.0  # 2 pi k alpha at which the transfer function has fallen to 9e-4
_MOFFAT_ALPHA = 0.5 / math.sqrt(2 ** (1 / 3.5) - 1)  # over FWHM
_GAUSSIAN_FWHM = 2 * math.sqrt(2 * math.log(2))  # over sigma

# Dark sky [AB mag / arcsec^2]: Ivezic et al. 2019, ApJ 873, 111, table 2, and for J, H, K typical
# site values.
_SKY_NM = (365, 478, 622, 754, 869, 971, 1250, 1630, 2200)
_SKY_MAG = (22.99, 22.26, 21.20, 20.48, 19.60, 18.61, 16.5, 15.1, 15.0)


def frequencies_for(bands: Sequence[Band], field_arcsec: float = FIELD_ARCSEC) -> Frequencies:
    """Return the frequencies that reach the sharpest PSF that can be drawn for any of `bands`."""
    sharpest = min(
        band.psf_fwhm_arcsec * math.exp(-WIDEST_DRAW * band.psf_scatter) for band in bands
    )
    highest = _FADED / (2 * math.pi * _MOFFAT_ALPHA * sharpest)
    return Frequencies(math.ceil(highest * field_arcsec), field_arcsec)


def stamp_pixels(survey: Survey) -> int:
    """Return the side of the survey's cutouts [pixel], an even number."""
    return 2 * math.ceil(STAMP_ARCSEC / 2 / survey.pixel_scale_arcsec)


def moffat_transfer(fwhm_arcsec: Tensor, k: Tensor) -> Tensor:
    """Return the transfer function of a Moffat PSF of beta 3.5 at frequencies k [cycle / arcsec].

    The Bessel function K_5/2 in it is elementary.
    """
    x = 2 * math.pi * _MOFFAT_ALPHA * fwhm_arcsec * k
    return torch.exp(-x) * (1 + x + x * x / 3)


def dark_sky(wavelengths_nm: Sequence[float]) -> np.ndarray:
    """Return the surface brightness of a dark sky [nanomaggy / arcsec^2]."""
    return nanomaggies(np.interp(wavelengths_nm, _SKY_NM, _SKY_MAG))


def pixel_noise(
    depth_mag: np.ndarray, psf_fwhm_arcsec: np.ndarray, pixel_scale_arcsec: float
) -> np.ndarray:
    """Return the sky noise per pixel [nanomaggy] at which a point source is a 5σ detection.

    The noise-equivalent area of a Gaussian PSF is 4π σ² (King 1983, PASP 95, 163).
    """
    area = 4 * math.pi * (psf_fwhm_arcsec / _GAUSSIAN_FWHM / pixel_scale_arcsec) ** 2
    return np.asarray(nanomaggies(depth_mag) / 5 / np.sqrt(area))


def observe(
    sky: Sky,
    survey: Survey,
    bands: Sequence[Band],
    conditions: Conditions,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """Take one cutout of each of n patches in some bands; without `rng` there is no noise.

    Noise is Gaussian. Its variance grows with the source as counts over those of a dark sky,
    ``sigma_sky^2 (1 + source / sky)``, so it needs no gain.

    Returns
    -------
    (n, bands, y, x) float32 tensor
        In the survey's unit per pixel, north up and east left unless the camera is rotated.
    """
    pixel = survey.pixel_scale_arcsec
    flux = _expose(sky, stamp_pixels(survey), pixel, bands, conditions)
    if rng is not None:
        sigma = pixel_noise(conditions.depth_mag, conditions.psf_fwhm_arcsec, pixel)
        _add_noise(flux, sigma, bands, pixel, rng)
        add_artefacts(flux, sigma, conditions.artefact, pixel, rng)
    unit_pixel = survey.flux_pixel_scale_arcsec or pixel
    flux *= (unit_pixel / pixel) ** 2 / survey.nanomaggy_per_unit
    return flux


def _expose(
    sky: Sky, side: int, pixel: float, bands: Sequence[Band], conditions: Conditions
) -> Tensor:
    """Noise-free flux per pixel [nanomaggy]."""
    field = sky.frequencies.field_arcsec
    grid = Frequencies(min(frequencies_for(bands, field).half, sky.frequencies.half), field)
    spectra = sky.at([band.wavelength_nm for band in bands], grid)
    k = torch.hypot(grid.north[:, None], grid.east[None, :])
    fwhm = float_tensor(conditions.psf_fwhm_arcsec)[..., None, None]
    gain = float_tensor(10 ** (0.4 * conditions.zeropoint_error_mag))[..., None, None]
    spectra *= gain * moffat_transfer(fwhm, k)
    for factor in grid.phase(-conditions.east_arcsec, -conditions.north_arcsec):
        spectra *= factor[:, None]
    if conditions.rotation_deg is not None and conditions.mirrored is not None:
        spectra = _rotated(spectra, conditions.rotation_deg, conditions.mirrored)
    offset = (torch.arange(side) - (side - 1) / 2)[:, None] * pixel
    rows = unit_phase(offset * grid.north)
    columns = unit_phase(offset * grid.east)  # conjugate, as east is to the left
    columns[:, 1:] *= 2  # each also counts for its complex conjugate
    columns *= (pixel / field) ** 2
    return (
        torch.view_as_real(rows @ spectra).flatten(-2) @ torch.view_as_real(columns).flatten(-2).T
    )


def _rotated(spectra: Tensor, rotation_deg: np.ndarray, mirrored: np.ndarray) -> Tensor:
    """Spectra seen by a rotated camera: by quarters of a circle, then three shears by phase.

    Unser, Thevenaz & Yaroslavsky 1995, IEEE Trans. Image Process. 4, 1371. Padding by half as many
    frequencies keeps those that a shear moves outwards.
    """
    rows, half = spectra.shape[-2], spectra.shape[-1] - 1
    room = rows // 4
    padded = torch.nn.functional.pad(spectra, (0, room, room, room))
    side = rows + 2 * room
    shifted = torch.fft.ifftshift(padded, dim=-2)
    image = torch.fft.fftshift(torch.fft.irfft2(shifted, s=(side, side)), dim=(-2, -1))
    quarters = np.round(rotation_deg / 90).astype(int)
    for quarter in range(4):
        members = torch.from_numpy(np.flatnonzero(quarters % 4 == quarter))
        image[members] = image[members].rot90(-quarter, (-2, -1))
    angle = float_tensor(np.radians(rotation_deg - 90 * quarters))[:, None]
    image = _sheared(image, -torch.tan(angle / 2))
    image = _sheared(image.mT, torch.sin(angle)).mT
    image = _sheared(image, -torch.tan(angle / 2))
    back = torch.from_numpy(mirrored)
    image[back] = image[back].flip(-1)
    image = torch.fft.ifftshift(image, dim=(-2, -1))
    spectrum: Tensor = torch.fft.fftshift(torch.fft.rfft2(image), dim=-2)
    return spectrum[..., room : room + rows, : half + 1]


def _sheared(image: Tensor, slope: Tensor) -> Tensor:
    """Move each row of (n, bands, side, side) along itself by slope times its height."""
    side = image.shape[-1]
    height = torch.arange(side) - side // 2
    cycles = (slope * height)[:, None, :, None] * torch.fft.rfftfreq(side)
    sheared: Tensor = torch.fft.irfft(torch.fft.rfft(image) * unit_phase(-cycles), n=side)
    return sheared


def _add_noise(
    flux: Tensor, sigma: np.ndarray, bands: Sequence[Band], pixel: float, rng: np.random.Generator
) -> None:
    wavelengths = [band.wavelength_nm for band in bands]
    sky_flux = dark_sky(wavelengths) * pixel**2
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    noise = torch.randn(flux.shape, generator=generator)
    noise *= (1 + flux.clamp_min(0) / float_tensor(sky_flux)[:, None, None]).sqrt_()
    noise *= float_tensor(sigma)[..., None, None]
    flux += noise
