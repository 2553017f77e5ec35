"""Observe patches of sky by an instrument, directly in the frame of an anchor.

It is faster than cutouts on a survey's pixels that are prepared afterwards, and gives the same
images: the flux is sampled at twice the resolution of the frame's grids, the noise is drawn on the
instrument's own pixels. Colour pictures pass through pixels, stretch and JPEG as those of archives.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from catalogs.simulation.conditions import Conditions
from catalogs.simulation.instruments import Instrument
from catalogs.simulation.observing import dark_sky, moffat_transfer
from catalogs.simulation.patches import Frequencies, Sky, float_tensor, unit_phase
from galaxy_da.images.instrument import sky_noise
from galaxy_da.images.preparation import Frame
from galaxy_da.images.resampling import overlap_weights
from galaxy_da.images.stretches import apply_stretch, invert_stretch
from galaxy_da.models.symmetries import SYMMETRIES, apply_symmetry

_SHARPEST_ARCSEC = 0.5  # least PSF whose finest details are rendered; the frame has 0.5" pixels
_FADED = 11.0  # 2 pi k alpha at which the PSF's transfer function has fallen to 9e-4
_ALPHA = 1.076  # Moffat radius over the FWHM
_FRAME_ARCSEC = 34.5  # least field of a picture of a small patch


def frequencies_of(instruments: Sequence[Instrument], field_arcsec: float) -> Frequencies:
    """Return the frequencies of a patch that the sharpest of some instruments can see."""
    widths = [band.psf_fwhm_arcsec for each in instruments for band in each.bands]
    sharpest = max(0.8 * min(widths), _SHARPEST_ARCSEC)
    half = math.ceil(_FADED / (2 * math.pi * _ALPHA * sharpest) * field_arcsec)
    return Frequencies(half, field_arcsec)


def observe_in_frame(
    sky: Sky,
    instrument: Instrument,
    conditions: Conditions,
    frame: Frame,
    rng: np.random.Generator | None = None,
) -> list[Tensor]:
    """Take an image of each of n patches, on each grid that the patches cover.

    Parameters
    ----------
    sky : Sky
        Patches; the wide grid is observed if they are as large as it is.
    instrument : Instrument
        Instrument with at least one band.
    conditions : Conditions
        Conditions of the n images in the instrument's bands.
    frame : Frame
        Frame with one or two grids.
    rng : numpy.random.Generator, optional
        Source of the noise; without it there is none, nor a colour picture.

    Returns
    -------
    list of (n, bands, pixels, pixels) float32 tensors
        Surface brightness [nanomaggy / arcsec^2].
    """
    field = sky.frequencies.field_arcsec
    scales = [s for s in frame.scales_arcsec if s * frame.pixels <= field]
    if rng is not None and instrument.stretch is not None:
        return _picture(sky, instrument, conditions, frame, scales, rng)
    spectra, grid = _through_telescope(sky, instrument, conditions)
    images = []
    for scale in scales:
        fine, cut = _low(spectra, grid, scale)
        images.append(_sampled(fine, cut, scale, frame.pixels, conditions))
    if rng is None:
        _share_centre(images, scales)
        return images
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    levels = _sky_levels(instrument, conditions, frame, rng)
    for number, (scale, image) in enumerate(zip(scales, images, strict=True)):
        sigma = _sigma(conditions, instrument.survey.pixel_scale_arcsec)
        noise = _noise(image.shape, scale, instrument, generator) if number == 0 else None
        if noise is None:  # many pixels of the instrument each
            noise = torch.randn(image.shape, generator=generator)
            sigma = _sigma(conditions, scale)
        image += noise * sigma * _shot_noise(image, instrument) + levels
    _share_centre(images, scales)
    return images


def surround(inner: Tensor, wide_pixels: int, factor: int, rng: np.random.Generator) -> Tensor:
    """Build the wide grid of small patches: each amid others of the same batch, at random angles.

    Parameters
    ----------
    inner : (n, bands, y, x) tensor
        Surface brightness on the first grid of at least two patches.
    wide_pixels, factor : int
        Side of the wide grid, and of its pixels over those of the first.
    rng : numpy.random.Generator
        Order and symmetries of the patches around.
    """
    small = functional.avg_pool2d(inner, factor)
    n, tile = len(inner), small.shape[-1]
    tiles = 2 * math.ceil((wide_pixels / tile - 1) / 2) + 1
    others = (np.arange(n)[:, None, None] + rng.integers(1, n, (n, tiles, tiles))) % n
    mosaic = small[torch.from_numpy(others)]  # (n, tiles, tiles, bands, y, x)
    symmetry = rng.integers(SYMMETRIES, size=others.shape)
    for number in range(1, SYMMETRIES):
        members = torch.from_numpy(symmetry == number)
        mosaic[members] = apply_symmetry(mosaic[members], number)
    mosaic[:, tiles // 2, tiles // 2] = small
    whole = mosaic.permute(0, 3, 1, 4, 2, 5).reshape(n, small.shape[1], tiles * tile, -1)
    margin = (tiles * tile - wide_pixels) // 2
    return whole[..., margin : margin + wide_pixels, margin : margin + wide_pixels]


def _through_telescope(
    sky: Sky, instrument: Instrument, conditions: Conditions
) -> tuple[Tensor, Frequencies]:
    """Spectra of the patches after PSF, calibration error and shift."""
    grid = sky.frequencies
    spectra = sky.at([band.wavelength_nm for band in instrument.bands], grid)
    k = torch.hypot(grid.north[:, None], grid.east[None, :])
    fwhm = float_tensor(conditions.psf_fwhm_arcsec)[..., None, None]
    core = moffat_transfer(fwhm, k)
    details = instrument.details
    halo = (1 + (math.pi * details.halo_fwhm * fwhm * k / 2.43).square()).pow(-1.5)
    transfer = core.lerp(halo, details.halo_share) if details.halo_share else core
    spectra = spectra * transfer
    spectra *= float_tensor(10 ** (0.4 * conditions.zeropoint_error_mag))[..., None, None]
    for factor in grid.phase(-conditions.east_arcsec, -conditions.north_arcsec):
        spectra *= factor[:, None]
    return spectra, grid


def _low(spectra: Tensor, grid: Frequencies, scale: float) -> tuple[Tensor, Frequencies]:
    """Cut spectra to the frequencies that twice the resolution of a grid can hold."""
    half = min(grid.half, math.floor(grid.field_arcsec / scale))
    cut = Frequencies(half, grid.field_arcsec)
    return grid.keep(spectra, cut), cut


def _sampled(
    spectra: Tensor, grid: Frequencies, scale: float, pixels: int, conditions: Conditions
) -> Tensor:
    """Average surface brightness over the pixels of a grid, from 2 x 2 samples of each."""
    turned = conditions.rotation_deg is not None
    side = 2 * pixels * (3 if turned else 2) // 2
    fine = _sampled_at(spectra, grid, scale / 2, side)
    if turned:
        fine = _rotated(fine, 2 * pixels, conditions)
    return functional.avg_pool2d(fine, 2)


def _sampled_at(spectra: Tensor, grid: Frequencies, step: float, side: int) -> Tensor:
    """Sample surface brightness at points a step apart, (n, bands, side, side)."""
    offset = (torch.arange(side) - (side - 1) / 2)[:, None] * step
    rows = unit_phase(offset * grid.north)
    columns = unit_phase(offset * grid.east)  # conjugate, as east is to the left
    columns[:, 1:] *= 2  # each also counts for its complex conjugate
    columns /= grid.field_arcsec**2
    return (
        torch.view_as_real(rows @ spectra).flatten(-2) @ torch.view_as_real(columns).flatten(-2).T
    )


def _rotated(images: Tensor, side: int, conditions: Conditions) -> Tensor:
    """Turn and mirror images about their middle, and cut out the middle."""
    assert conditions.rotation_deg is not None and conditions.mirrored is not None
    angle = float_tensor(np.radians(conditions.rotation_deg))
    sign = torch.where(torch.from_numpy(conditions.mirrored), -1.0, 1.0)
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    share = side / images.shape[-1]
    matrix = torch.stack([cos * sign, -sin, zero, sin * sign, cos, zero], -1) * share
    size = [*images.shape[:2], side, side]
    grid = functional.affine_grid(matrix.reshape(-1, 2, 3), size, False)
    return functional.grid_sample(images, grid, "bicubic", "border", align_corners=False)


def _sigma(conditions: Conditions, pixel_arcsec: float) -> Tensor:
    """(n, bands, 1, 1) sky noise of a pixel [nanomaggy / arcsec^2]."""
    depth, fwhm = map(float_tensor, (conditions.depth_mag, conditions.psf_fwhm_arcsec))
    return sky_noise(depth, fwhm, pixel_arcsec)[..., None, None]


def _shot_noise(brightness: Tensor, instrument: Instrument) -> Tensor:
    """Noise over that of dark sky; the variance grows with counts."""
    sky = float_tensor(dark_sky([band.wavelength_nm for band in instrument.bands]))
    return (1 + brightness.clamp_min(0) / sky[:, None, None]).sqrt()


def _noise(
    shape: torch.Size, scale: float, instrument: Instrument, generator: torch.Generator
) -> Tensor:
    """Noise of unit variance on the instrument's pixels, blurred, averaged over a grid's pixels."""
    pixel = instrument.survey.pixel_scale_arcsec
    ratio = scale / pixel
    n_in = math.ceil(shape[-1] * ratio) + 2
    shift = torch.rand(2, generator=generator) - 0.5
    noise = torch.randn((*shape[:2], n_in, n_in), generator=generator)
    blur = _blur(n_in, instrument.details.noise_blur_px)
    rows, columns = (
        overlap_weights(n_in, shape[-1], ratio, (n_in - 1) / 2 + float(d))[0] @ blur for d in shift
    )
    return rows @ noise @ columns.T


def _blur(side: int, sigma_px: float) -> Tensor:
    if not sigma_px:
        return torch.eye(side)
    apart = torch.arange(side)[:, None] - torch.arange(side)
    kernel: Tensor = torch.exp(-0.5 * (apart / sigma_px) ** 2)
    return kernel / kernel[side // 2].sum()


def _sky_levels(
    instrument: Instrument, conditions: Conditions, frame: Frame, rng: np.random.Generator
) -> Tensor:
    """(n, bands, y, x) residual of the sky: a level and a gradient."""
    sigma = _sigma(conditions, frame.pixel_scale_arcsec) * instrument.details.sky_residual
    level, slope_y, slope_x = float_tensor(rng.normal(size=(3, *sigma.shape)))
    ramp = torch.linspace(-1, 1, frame.pixels)
    levels: Tensor = sigma * (level + 0.7 * (slope_y * ramp[:, None] + slope_x * ramp))
    return levels


def _share_centre(images: list[Tensor], scales: Sequence[float]) -> None:
    """Give the middle of the wide grid the pixels of the first, on average."""
    if len(images) < 2:
        return
    factor = round(scales[1] / scales[0])
    small = functional.avg_pool2d(images[0], factor)
    margin = (images[1].shape[-1] - small.shape[-1]) // 2
    inner = slice(margin, margin + small.shape[-1])
    images[1][..., inner, inner] = small


def _picture(
    sky: Sky,
    instrument: Instrument,
    conditions: Conditions,
    frame: Frame,
    scales: Sequence[float],
    rng: np.random.Generator,
) -> list[Tensor]:
    """Observe on the instrument's pixels, stretch, compress as JPEG, and invert the stretch."""
    stretch, pixel = instrument.stretch, instrument.survey.pixel_scale_arcsec
    assert stretch is not None
    field = max(_FRAME_ARCSEC, max(scales) * frame.pixels)
    side = math.ceil(field / pixel)
    spectra, grid = _through_telescope(sky, instrument, conditions)
    turned = conditions.rotation_deg is not None
    flux = _sampled_at(spectra, grid, pixel, side * 3 // 2 if turned else side)
    if turned:
        flux = _rotated(flux, side, conditions)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    noise = _noise(flux.shape, pixel, instrument, generator)
    flux += noise * _sigma(conditions, pixel) * _shot_noise(flux, instrument)
    names = [name for name in instrument.planes if name is not None]
    order = [names.index(plane) for plane in stretch.planes]
    area = stretch.pixel_scale_arcsec**2
    colour = apply_stretch(flux[:, order] * area, stretch)
    shown = math.ceil(field / instrument.picture_pixel_arcsec)
    quality = instrument.details.jpeg_quality
    pictures = torch.stack([_jpeg(image, shown, quality) for image in colour])
    back = invert_stretch(pictures, stretch)[:, np.argsort(order)] / area
    images = []
    for scale in scales:
        ratio = scale / (field / shown)
        weights = overlap_weights(shown, frame.pixels, ratio, (shown - 1) / 2)[0]
        images.append(weights @ back @ weights.T)
    return images


def _jpeg(colour: Tensor, side: int, quality: int) -> Tensor:
    """Interpolate a (3, y, x) picture to another side, and compress it."""
    image = Image.fromarray(np.ascontiguousarray(colour.movedim(0, -1).numpy()))
    if side != colour.shape[-1]:
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=quality)
        decoded = np.asarray(Image.open(file))
    return torch.from_numpy(decoded.copy()).movedim(-1, 0)
