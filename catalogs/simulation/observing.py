"""How a survey sees a patch of sky: its PSF, pixels, noise, zeropoint, and mishaps.

A patch is held as its spatial spectrum ``F(k)``. A survey multiplies it by the transfer function of
its PSF and the image follows at any pixel centre, with no intermediate pixels to interpolate
between::

    image(x) = pixel area * sum_k F(k) MTF(k) exp(2 pi i k.x)

The PSF is a Moffat profile with beta 3.5, whose transfer function is elementary. Its width is that
of stars in the survey's images, so it includes the pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from galaxy_da.images.preparation import Frame, pick_bands
from galaxy_da.surveys import NANOMAGGY_ZEROPOINT, Band, Survey

__all__ = [
    "ARTEFACTS",
    "STAMP_ARCSEC",
    "Conditions",
    "Modes",
    "Sky",
    "draw_conditions",
    "frame_bands",
    "median_conditions",
    "modes_for",
    "observe",
    "pixel_noise",
    "stamp_pixels",
]

STAMP_ARCSEC = 34.5
"""Least side of a cutout [arcsec]."""

FIELD_ARCSEC = 42.0
"""Period of the patches [arcsec]; what leaves on one side returns on the other, off the stamp."""

ARTEFACTS = ("bleed", "satellite", "chip-edge")
"""What can spoil a cutout: a saturated star, a trail, the end of the detector."""

ARTEFACT_RATE = 0.02
ASTROMETRY_ARCSEC = 0.1
"""Standard deviation of a catalogue position, per axis [arcsec]."""
ZEROPOINT_MAG = 0.02
"""Standard deviation of the calibration of one band of one cutout [mag]."""

_WIDEST_DRAW = 2.5  # standard deviations
_FADED = 11.0  # 2 pi k alpha at which the transfer function has fallen to 9e-4
_MOFFAT_ALPHA = 0.5 / math.sqrt(2 ** (1 / 3.5) - 1)  # over FWHM
_GAUSSIAN_FWHM = 2 * math.sqrt(2 * math.log(2))  # over sigma

# Dark sky [AB mag / arcsec^2]: Ivezic et al. 2019, ApJ 873, 111, table 2, and for J, H, K typical
# site values.
_SKY_NM = (365, 478, 622, 754, 869, 971, 1250, 1630, 2200)
_SKY_MAG = (22.99, 22.26, 21.20, 20.48, 19.60, 18.61, 16.5, 15.1, 15.0)


@dataclass(frozen=True)
class Modes:
    """The spatial frequencies a patch is described by: multiples of 1 / `FIELD_ARCSEC`.

    Attributes
    ----------
    half : int
        Frequencies run from ``-half`` to ``half`` northward and 0 to ``half`` eastward, the other
        half being the complex conjugate.
    """

    half: int

    @property
    def side(self) -> int:
        """Pixels along a side of the equivalent real grid."""
        return 2 * self.half + 1

    @property
    def pixel_arcsec(self) -> float:
        """Pixel of the equivalent real grid [arcsec]."""
        return FIELD_ARCSEC / self.side

    @cached_property
    def east(self) -> Tensor:
        """(half + 1,) frequencies along right ascension [cycle / arcsec]."""
        return torch.arange(self.half + 1) / FIELD_ARCSEC

    @cached_property
    def north(self) -> Tensor:
        """(side,) frequencies along declination, ascending [cycle / arcsec]."""
        return torch.arange(-self.half, self.half + 1) / FIELD_ARCSEC

    @cached_property
    def offsets(self) -> Tensor:
        """(side,) coordinates of the real grid, ascending with 0 in the middle [arcsec]."""
        return torch.arange(-self.half, self.half + 1) * self.pixel_arcsec

    def phase(self, east: np.ndarray, north: np.ndarray) -> tuple[Tensor, Tensor]:
        """Factors that move things from the middle to (n,) offsets [arcsec].

        Returns
        -------
        (n, side, 1) and (n, 1, half + 1) complex64 tensors
        """
        turns_east = _tensor(east)[:, None] * self.east
        turns_north = _tensor(north)[:, None] * self.north
        return _unit_phase(-turns_north)[:, :, None], _unit_phase(-turns_east)[:, None, :]

    def spectrum(self, image: Tensor) -> Tensor:
        """Spectrum of surface brightness on the real grid, north up the rows and east along them.

        Parameters
        ----------
        image : (..., side, side) float tensor [flux / arcsec^2]

        Returns
        -------
        (..., side, half + 1) complex64 tensor [flux]
        """
        centred = torch.fft.ifftshift(image, dim=(-2, -1))
        spectrum: Tensor = torch.fft.fftshift(torch.fft.rfft2(centred), dim=-2)
        return spectrum * self.pixel_arcsec**2

    def keep(self, spectra: Tensor, modes: Modes) -> Tensor:
        """Low frequencies of spectra: those of `modes`, which must be fewer."""
        cut = self.half - modes.half
        return spectra[..., cut : cut + modes.side, : modes.half + 1]


@dataclass(frozen=True)
class Sky:
    """Patches of sky, as seen above the atmosphere by a perfect telescope.

    Attributes
    ----------
    spectra : (n, components, side, half + 1) complex64 tensor [nanomaggy]
        Spatial spectrum of each component.
    modes : Modes
        Their frequencies.
    mix : callable
        From wavelengths [nm] to the (wavelengths, components) share of each component.
    """

    spectra: Tensor
    modes: Modes
    mix: Callable[[Sequence[float]], Tensor]

    def __len__(self) -> int:
        return len(self.spectra)

    def at(self, wavelengths_nm: Sequence[float], modes: Modes) -> Tensor:
        """(n, wavelengths, side, half + 1) spectra at some wavelengths, low frequencies only."""
        kept = self.modes.keep(self.spectra, modes)
        flat = torch.view_as_real(kept).reshape(len(self), kept.shape[1], -1)
        mixed = self.mix(wavelengths_nm) @ flat
        return torch.view_as_complex(mixed.reshape(len(self), -1, *kept.shape[2:], 2))


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The state of a survey at each of n cutouts.

    Attributes
    ----------
    psf_fwhm_arcsec : (n, bands) float array
    depth_mag : (n, bands) float array
        5σ point-source depth [AB mag].
    zeropoint_error_mag : (n, bands) float array
        Positive where the images come out too bright.
    east_arcsec, north_arcsec : (n,) float array
        Error of the catalogue position the stamp is centred on.
    artefact : (n,) object array
        One of `ARTEFACTS` or None.
    turn_deg : (n,) float array, optional
        Angle of the camera on the sky, north through east; upright by default.
    mirrored : (n,) bool array, optional
        Whether east is then to the right.
    """

    psf_fwhm_arcsec: np.ndarray
    depth_mag: np.ndarray
    zeropoint_error_mag: np.ndarray
    east_arcsec: np.ndarray
    north_arcsec: np.ndarray
    artefact: np.ndarray
    rotation_deg: np.ndarray | None = None
    mirrored: np.ndarray | None = None

    def head(self, rows: int) -> Conditions:
        """Return those of the first cutouts."""
        return Conditions(
            **{name: values[:rows] for name, values in vars(self).items() if values is not None}
        )

    def rotated(self, rng: np.random.Generator) -> Conditions:
        """Return the same night with the camera at random angles, half the stamps mirrored."""
        n = len(self.artefact)
        return replace(self, rotation_deg=rng.uniform(0, 360, n), mirrored=rng.random(n) < 0.5)


def median_conditions(n: int, bands: Sequence[Band]) -> Conditions:
    """Return n times the survey's median night, with perfect calibration and astrometry."""
    zeros = np.zeros((n, len(bands)))
    return Conditions(
        psf_fwhm_arcsec=zeros + [band.psf_fwhm_arcsec for band in bands],
        depth_mag=zeros + [band.depth_mag for band in bands],
        zeropoint_error_mag=zeros,
        east_arcsec=np.zeros(n),
        north_arcsec=np.zeros(n),
        artefact=np.full(n, None),
    )


def draw_conditions(n: int, bands: Sequence[Band], rng: np.random.Generator) -> Conditions:
    """Draw PSF width, depth, calibration, astrometry and artefacts of n cutouts.

    PSF widths scatter log-normally and depths normally, each band for itself, as the survey's
    definition says; both are clipped at 2.5 standard deviations.
    """
    median = median_conditions(n, bands)
    shape = median.psf_fwhm_arcsec.shape
    seeing, depth = rng.standard_normal((2, *shape)).clip(-_WIDEST_DRAW, _WIDEST_DRAW)
    spoiled = rng.random(n) < ARTEFACT_RATE
    return Conditions(
        psf_fwhm_arcsec=median.psf_fwhm_arcsec
        * np.exp(seeing * [band.psf_scatter for band in bands]),
        depth_mag=median.depth_mag + depth * [band.depth_scatter for band in bands],
        zeropoint_error_mag=rng.normal(0, ZEROPOINT_MAG, shape),
        east_arcsec=rng.normal(0, ASTROMETRY_ARCSEC, n),
        north_arcsec=rng.normal(0, ASTROMETRY_ARCSEC, n),
        artefact=np.where(spoiled, rng.choice(ARTEFACTS, n).astype(object), np.full(n, None)),
    )


def frame_bands(survey: Survey, *, every: bool = False) -> tuple[Band, ...]:
    """Return the survey's bands nearest to the frame's g, r and z, or every band, in its order."""
    wanted = survey.band_names if every else pick_bands(survey, survey.band_names, Frame())
    return tuple(band for band in survey.bands if band.name in wanted)


def modes_for(bands: Sequence[Band]) -> Modes:
    """Return the frequencies that reach the sharpest PSF that can be drawn for any of `bands`."""
    sharpest = min(
        band.psf_fwhm_arcsec * math.exp(-_WIDEST_DRAW * band.psf_scatter) for band in bands
    )
    return Modes(math.ceil(_FADED / (2 * math.pi * _MOFFAT_ALPHA * sharpest) * FIELD_ARCSEC))


def stamp_pixels(survey: Survey) -> int:
    """Return the side of the survey's cutouts [pixel], an even number."""
    return 2 * math.ceil(STAMP_ARCSEC / 2 / survey.pixel_scale_arcsec)


def pixel_noise(
    depth_mag: np.ndarray, psf_fwhm_arcsec: np.ndarray, pixel_scale_arcsec: float
) -> np.ndarray:
    """Sky noise per pixel that makes a point source of some magnitude a 5σ detection.

    The noise-equivalent area of a Gaussian PSF is 4π σ² (King 1983, PASP 95, 163).

    Returns
    -------
    float array [nanomaggy]
    """
    area = 4 * math.pi * (psf_fwhm_arcsec / _GAUSSIAN_FWHM / pixel_scale_arcsec) ** 2
    return np.asarray(_flux(depth_mag) / 5 / np.sqrt(area))


def observe(
    sky: Sky,
    survey: Survey,
    bands: Sequence[Band],
    conditions: Conditions,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """Take one cutout of each patch.

    Noise is Gaussian. Its variance grows with the source as counts over those of a dark sky, so it
    needs no gain: ``sigma_sky^2 (1 + source / sky)``.

    Parameters
    ----------
    sky : Sky
        n patches, the galaxies in their middle.
    survey : Survey
        Gives pixel scale and flux unit.
    bands : sequence of Band
        Some of its bands.
    conditions : Conditions
        For the n patches and these bands.
    rng : numpy Generator, optional
        Source of noise and artefacts; without one there are none.

    Returns
    -------
    (n, bands, y, x) float32 tensor
        In the survey's unit per pixel, north up and east left unless the camera is turned.
    """
    pixel = survey.pixel_scale_arcsec
    flux = _expose(sky, stamp_pixels(survey), pixel, bands, conditions)
    if rng is not None:
        sigma = pixel_noise(conditions.depth_mag, conditions.psf_fwhm_arcsec, pixel)
        _add_noise(flux, sigma, bands, pixel, rng)
        _add_artefacts(flux, sigma, conditions.artefact, pixel, rng)
    unit_pixel = survey.flux_pixel_scale_arcsec or pixel
    flux *= (unit_pixel / pixel) ** 2 / survey.nanomaggy_per_unit
    return flux


def _expose(
    sky: Sky, side: int, pixel: float, bands: Sequence[Band], conditions: Conditions
) -> Tensor:
    """Noise-free flux per pixel [nanomaggy]."""
    modes = Modes(min(modes_for(bands).half, sky.modes.half))
    spectra = sky.at([band.wavelength_nm for band in bands], modes)
    k = torch.hypot(modes.north[:, None], modes.east[None, :])
    x = 2 * math.pi * _MOFFAT_ALPHA * _tensor(conditions.psf_fwhm_arcsec)[..., None, None] * k
    gain = _tensor(10 ** (0.4 * conditions.zeropoint_error_mag))[..., None, None]
    # Moffat of beta 3.5: the Bessel function K_5/2 of its transfer function is elementary.
    spectra *= gain * torch.exp(-x) * (1 + x + x * x / 3)
    for factor in modes.phase(-conditions.east_arcsec, -conditions.north_arcsec):
        spectra *= factor[:, None]
    if conditions.rotation_deg is not None and conditions.mirrored is not None:
        spectra = _rotated(spectra, conditions.rotation_deg, conditions.mirrored)
    offset = (torch.arange(side) - (side - 1) / 2)[:, None] * pixel
    rows = _unit_phase(offset * modes.north)
    columns = _unit_phase(offset * modes.east)  # conjugate, as east is to the left
    columns[:, 1:] *= 2  # and each stands for its mirror image too
    columns *= (pixel / FIELD_ARCSEC) ** 2
    return (
        torch.view_as_real(rows @ spectra).flatten(-2) @ torch.view_as_real(columns).flatten(-2).T
    )


def _rotated(spectra: Tensor, rotation_deg: np.ndarray, mirrored: np.ndarray) -> Tensor:
    """Spectra as a camera at an angle sees them: quarter turns, then three shears by phase.

    Unser, Thevenaz & Yaroslavsky 1995, IEEE Trans. Image Process. 4, 1371. Half as many
    frequencies again make room for what a shear moves outwards.
    """
    rows, half = spectra.shape[-2], spectra.shape[-1] - 1
    room = rows // 4
    padded = torch.nn.functional.pad(spectra, (0, room, room, room))
    side = rows + 2 * room
    shifted = torch.fft.ifftshift(padded, dim=-2)
    image = torch.fft.fftshift(torch.fft.irfft2(shifted, s=(side, side)), dim=(-2, -1))
    quarters = np.round(rotation_deg / 90).astype(int)
    for quarter in range(4):
        of_these = torch.from_numpy(np.flatnonzero(quarters % 4 == quarter))
        image[of_these] = image[of_these].rot90(-quarter, (-2, -1))
    angle = _tensor(np.radians(rotation_deg - 90 * quarters))[:, None]
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
    turns = (slope * height)[:, None, :, None] * torch.fft.rfftfreq(side)
    sheared: Tensor = torch.fft.irfft(torch.fft.rfft(image) * _unit_phase(-turns), n=side)
    return sheared


def _add_noise(
    flux: Tensor,
    sigma: np.ndarray,
    bands: Sequence[Band],
    pixel: float,
    rng: np.random.Generator,
) -> None:
    wavelengths = [band.wavelength_nm for band in bands]
    sky = _tensor(_flux(np.interp(wavelengths, _SKY_NM, _SKY_MAG)) * pixel**2)[:, None, None]
    noise = torch.randn(flux.shape, generator=_torch_generator(rng))
    noise *= (1 + flux.clamp_min(0) / sky).sqrt_()
    noise *= _tensor(sigma)[..., None, None]
    flux += noise


def _add_artefacts(
    flux: Tensor, sigma: np.ndarray, artefact: np.ndarray, pixel: float, rng: np.random.Generator
) -> None:
    """Spoil cutouts in place; each kind draws its own place, direction and strength."""
    side = flux.shape[-1]
    ramp = (torch.arange(side) - (side - 1) / 2) * pixel
    y, x = ramp[:, None], ramp[None, :]
    for kind, spoil in (("bleed", _bleed), ("satellite", _satellite), ("chip-edge", _chip_edge)):
        rows = torch.from_numpy(np.flatnonzero(artefact == kind))
        if len(rows):
            scale = _tensor(sigma[rows.numpy()])[..., None, None]
            flux[rows] = spoil(flux[rows], scale, x, y, rng)


def _bleed(flux: Tensor, sigma: Tensor, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
    """Add a saturated star and the charge that ran along its column."""
    x0, y0 = _uniform(rng, -15, 15, len(flux)), _uniform(rng, -15, 15, len(flux))
    reach, width = _uniform(rng, 4, 30, len(flux)), _uniform(rng, 0.4, 1.2, len(flux))
    halo = 3e4 * sigma * (1 + ((x - x0) ** 2 + (y - y0) ** 2) / 4) ** -2.5
    trail = ((x - x0).abs() < width) & ((y - y0).abs() < reach)
    full = 3e3 * sigma
    return torch.where(trail, full, torch.minimum(flux + halo, full))


def _satellite(
    flux: Tensor, sigma: Tensor, x: Tensor, y: Tensor, rng: np.random.Generator
) -> Tensor:
    """Add a straight trail in one band."""
    angle, distance = _uniform(rng, 0, math.pi, len(flux)), _uniform(rng, -14, 14, len(flux))
    strength, width = _uniform(rng, 20, 200, len(flux)), _uniform(rng, 0.5, 1.0, len(flux))
    across = x * torch.cos(angle) + y * torch.sin(angle) - distance
    band = torch.nn.functional.one_hot(
        torch.from_numpy(rng.integers(flux.shape[1], size=len(flux))), flux.shape[1]
    )
    trail = strength * sigma * torch.exp(-0.5 * (across / width) ** 2)
    return flux + trail * band[..., None, None]


def _chip_edge(
    flux: Tensor, sigma: Tensor, x: Tensor, y: Tensor, rng: np.random.Generator
) -> Tensor:
    """Blank what lies beyond a line along rows or columns, to zero or NaN as pipelines do."""
    along_x = _uniform(rng, -1, 1, len(flux)) > 0
    sign = torch.where(_uniform(rng, -1, 1, len(flux)) > 0, 1.0, -1.0)
    beyond = sign * torch.where(along_x, x, y) > _uniform(rng, 2, 14, len(flux))
    blank = torch.where(_uniform(rng, -1, 1, len(flux)) > 0, 0.0, math.nan)
    return torch.where(beyond, blank, flux)


def _uniform(rng: np.random.Generator, low: float, high: float, n: int) -> Tensor:
    return _tensor(rng.uniform(low, high, n))[:, None, None, None]


def _torch_generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def _flux(magnitude: np.ndarray) -> np.ndarray:
    """AB magnitude to nanomaggy."""
    return np.asarray(10 ** (0.4 * (NANOMAGGY_ZEROPOINT - magnitude)))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)


def _unit_phase(turns: Tensor) -> Tensor:
    angle = 2 * math.pi * turns
    return torch.complex(torch.cos(angle), torch.sin(angle))
