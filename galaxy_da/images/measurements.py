"""Measure galaxies on prepared images: magnitudes, radii and shapes, without the latents.

Everything refers to the middle of the frame. Rings of one pixel of the first grid, and beyond it of
the wide grid, give a curve of growth. A pixel that is much brighter than the one across the middle
takes its value, so that neighbours do not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from galaxy_da.images.hyperbolic import sinh
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.instrument import linear_noise, wavelength_ratio
from galaxy_da.images.moments import adaptive_shape
from galaxy_da.images.preparation import Frame

APERTURE_ARCSEC = 3.0
"""Radius of the aperture of magnitudes and colours [arcsec]."""

PETROSIAN_RATIO, PETROSIAN_RADII = 0.2, 2.0
"""Local over mean brightness at the Petrosian radius, and the radius of its aperture over it."""

_R_NM = 642.0
_NEIGHBOUR_SIGMA, _NEIGHBOUR_SHARE = 4.0, 0.5
_FEWEST_COVERED = 0.6  # share of a ring with data
_SUBPIXELS = 10  # of a pixel that a ring cuts, along each axis
_EDGE_RINGS = (0.3, 0.5, 0.7, 0.85, 1.0)  # radii of rings over the largest with data
_EDGE_SIGMA = 5.0  # least signal of the last ring
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Measurements of n images; radii and shapes in the band nearest to r that is there.

    Attributes
    ----------
    aperture_flux, petrosian_flux : (n, bands) float32 array
        Flux within 3 arcsec, and within two Petrosian radii [nanomaggy]; NaN for a missing band.
    aperture_noise : (n, bands) float32 array
        Noise of the first by the image's background [nanomaggy].
    petrosian_arcsec, half_light_arcsec : (n,) float32 array
        Circular radii, not corrected for the PSF. NaN without a galaxy.
    concentration : (n,) float32 array
        5 log10(r80 / r20) (Bershady et al. 2000, AJ 119, 2645).
    asymmetry : (n,) float32 array
        Sum |I - I180| / sum |I| within 1.5 Petrosian radii, less the same of the noise
        (Conselice 2003, ApJS 147, 1).
    axis_ratio, position_angle : (n,) float32 array
        Of adaptive moments (Bernstein & Jarvis 2002, AJ 123, 583); angle north through east [deg].
    reach_arcsec : (n,) float32 array
        Radius up to which rings have data.
    complete : (n,) bool array
        True where the Petrosian aperture lies within that radius.
    edge_share : (n,) float32 array
        Brightness near that radius over the mean within it; zero where it is less than five times
        its noise. An exponential disc that is cut at 2.5 half-light radii has 0.20.
    """

    aperture_flux: np.ndarray
    aperture_noise: np.ndarray
    petrosian_flux: np.ndarray
    petrosian_arcsec: np.ndarray
    half_light_arcsec: np.ndarray
    concentration: np.ndarray
    asymmetry: np.ndarray
    axis_ratio: np.ndarray
    position_angle: np.ndarray
    reach_arcsec: np.ndarray
    complete: np.ndarray
    edge_share: np.ndarray


def measure(inputs: Inputs, frame: Frame) -> Measured:
    """Measure prepared images; see `Measured`."""
    parts = [slice(None), *(_with_data(cover) for cover in _coverage(inputs, frame)[1:])]
    light, noise, present = _brightness(inputs, frame, parts)
    seen = [
        cover[:, part, part] for cover, part in zip(_coverage(inputs, frame), parts, strict=True)
    ]
    plane = _reference(present, frame)
    n, bands = present.shape
    clean = [
        _without_neighbours(grid, noise, cover) for grid, cover in zip(light, seen, strict=True)
    ]
    radii, growth, covered = _growth(clean, seen, frame)
    radii_np, growth_np = radii.numpy(), growth.numpy()
    own = growth_np[np.arange(n), plane]
    usable = covered.numpy()
    reach = np.where(usable.all(1), radii_np[-1], radii_np[(~usable).argmax(1) - 1])
    reach = np.where(usable[:, 0], reach, 0.0)
    petrosian = _petrosian(radii_np, own, reach)
    aperture = np.minimum(PETROSIAN_RADII * petrosian, reach)
    total = _at(radii_np, own, aperture)
    r20, r50, r80 = (_radius_of(radii_np, own, share * total) for share in (0.2, 0.5, 0.8))
    flux = np.stack([_at(radii_np, growth_np[:, band], aperture) for band in range(bands)], 1)
    fixed = np.full(n, APERTURE_ARCSEC)
    inner = np.stack([_at(radii_np, growth_np[:, band], fixed) for band in range(bands)], 1)
    area = math.pi * APERTURE_ARCSEC**2
    pixel_noise = noise.numpy() * frame.pixel_scale_arcsec
    inner_noise = pixel_noise * np.sqrt(area)
    inner_noise = np.maximum(inner_noise, _TINY)
    missing = ~present.numpy()
    for array in (flux, inner, inner_noise):
        array[missing] = np.nan
    image, scale, cover = _main_grid(clean, seen, plane, aperture, frame)
    ratio, angle = _shape(image, scale, r50)
    raw, _, _ = _main_grid(light, seen, plane, aperture, frame)
    sigma = noise[torch.arange(n), torch.from_numpy(plane)]
    sigma = sigma * frame.pixel_scale_arcsec / torch.from_numpy(scale).float()
    asymmetry = _asymmetry(raw, scale, cover, sigma, 1.5 * petrosian)
    with np.errstate(invalid="ignore", divide="ignore"):
        concentration = 5 * np.log10(r80 / r20)
    bad = ~(total > 0) | ~np.isfinite(petrosian)
    values = {
        "petrosian_arcsec": petrosian,
        "half_light_arcsec": r50,
        "concentration": concentration,
        "asymmetry": asymmetry,
        "axis_ratio": ratio,
        "position_angle": angle,
    }
    return Measured(
        aperture_flux=inner.astype(np.float32),
        aperture_noise=inner_noise.astype(np.float32),
        petrosian_flux=flux.astype(np.float32),
        **{name: np.where(bad, np.nan, value).astype(np.float32) for name, value in values.items()},
        reach_arcsec=reach.astype(np.float32),
        complete=~bad & (PETROSIAN_RADII * petrosian <= reach),
        edge_share=_edge_share(radii_np, own, reach, pixel_noise[np.arange(n), plane]),
    )


def brightness(inputs: Inputs, frame: Frame) -> tuple[list[Tensor], Tensor, Tensor]:
    """Undo the scaling of prepared images.

    Returns
    -------
    list of (n, bands, y, x) tensors
        Surface brightness on each grid [nanomaggy / arcsec^2].
    (n, bands) tensor
        Background noise of a pixel of the first grid [nanomaggy / arcsec^2].
    (n, bands) bool tensor
        True for bands that are there.
    """
    return _brightness(inputs, frame, [slice(None)] * len(frame.scales_arcsec))


def _brightness(
    inputs: Inputs, frame: Frame, parts: Sequence[slice]
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return the results of `brightness` for a middle part of each grid; the first is whole."""
    bands = len(frame.bands)
    images = inputs.images.float()
    ratio = wavelength_ratio(inputs.conditions, bands)
    wavelengths = ratio * torch.tensor(frame.wavelengths_nm)
    log = np.interp(wavelengths.numpy(), frame.wavelengths_nm, np.log(frame.softening))
    softening = torch.from_numpy(np.exp(log)).float()
    linear = [
        sinh(images[:, number * bands : (number + 1) * bands, part, part])
        for number, part in enumerate(parts)
    ]
    first = images[:, :bands].flatten(2)
    present = (first.amax(2) != 0) | (first.amin(2) != 0)
    noise = linear_noise(linear[0], _coverage(inputs, frame)[0]) * softening
    return [grid.mul_(softening[..., None, None]) for grid in linear], noise, present


def _coverage(inputs: Inputs, frame: Frame) -> list[Tensor]:
    """(n, y, x) tensors of each grid: 1 in pixels with data."""
    grids, bands = len(frame.scales_arcsec), len(frame.bands)
    if grids > 1:
        return [inputs.images[:, grids * bands + number].float() for number in range(grids)]
    return [(inputs.images[:, :bands] != 0).any(1).float()]


def _with_data(cover: Tensor) -> slice:
    """Return the middle rows and columns of a grid that hold all of its data."""
    side, seen = cover.shape[-1], cover.amax(0) > 0
    used = (seen.any(0) | seen.any(1)).nonzero().flatten()
    edge = min(int(used[0]), side - 1 - int(used[-1])) if len(used) else 0
    return slice(edge, side - edge)


def _reference(present: Tensor, frame: Frame) -> np.ndarray:
    """Return the number of the band nearest to r that is there, (n,)."""
    distance = np.abs(np.log(np.array(frame.wavelengths_nm) / _R_NM))
    return np.asarray(np.where(present.numpy(), distance, np.inf).argmin(1))


def _without_neighbours(light: Tensor, noise: Tensor, seen: Tensor) -> Tensor:
    """Replace pixels that are much brighter than those across the middle."""
    across = light.flip(-1, -2)
    limit = _NEIGHBOUR_SIGMA * noise[..., None, None] + _NEIGHBOUR_SHARE * across.clamp_min(0)
    both = (seen * seen.flip(-1, -2))[:, None] > 0
    return torch.where(both & (light - across > limit), across, light)


@lru_cache(maxsize=8)
def _rings(side: int) -> tuple[Tensor, np.ndarray]:
    """Shares of pixels in rings of one pixel, and the outer radii [pixel].

    The shares are those of the first quarter of the pixels, (side / 2, side / 2, rings), its last
    pixel next to the middle, or in it.
    """
    half = (side + 1) // 2
    fine = (np.arange(half * _SUBPIXELS) + 0.5) / _SUBPIXELS - side / 2
    radius = np.hypot(fine[:, None], fine)
    outer = np.arange(1, side // 2 + 1).astype(float)
    place = np.searchsorted(outer, radius)
    blocks = place.reshape(half, _SUBPIXELS, half, _SUBPIXELS).transpose(0, 2, 1, 3)
    flat = blocks.reshape(half * half, -1)
    shares = np.zeros((half * half, len(outer) + 1), np.float32)
    np.add.at(shares, (np.arange(half * half)[:, None], flat), 1 / _SUBPIXELS**2)
    return torch.from_numpy(shares[:, :-1].reshape(half, half, -1)), outer


def _quarter(image: Tensor) -> Tensor:
    """Add the four quarters of (..., side, side) images, turned onto the first."""
    side = image.shape[-1]
    half = side // 2
    rows = image[..., : side - half, :].clone()
    rows[..., :half, :] += image[..., side - half :, :].flip(-2)
    quarter = rows[..., : side - half].clone()
    quarter[..., :half] += rows[..., side - half :].flip(-1)
    return quarter


def _growth(light: list[Tensor], seen: list[Tensor], frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
    """Return radii [arcsec], flux within them (n, bands, radii) [nanomaggy], and covered rings."""
    edges, fluxes, covered = [], [], []
    start = 0.0
    rings, pixels = _rings(frame.pixels)
    whole = _quarter(torch.ones(frame.pixels, frame.pixels)).flatten() @ rings.flatten(0, 1)
    for image, cover, scale in zip(light, seen, frame.scales_arcsec, strict=True):
        outer = pixels * scale
        inner = np.concatenate([[0.0], outer[:-1]])
        used = outer > start + 0.25 * scale
        # A ring that the finer grid covers in part keeps its mean brightness.
        inner = np.maximum(inner, start)[used]
        kept = slice((frame.pixels - image.shape[-1]) // 2, None)
        own = rings[kept, kept].flatten(0, 1)
        count = _quarter(cover).flatten(1) @ own
        total = _quarter(image * cover[:, None]).flatten(2) @ own
        mean = total / count.clamp_min(1)[:, None]
        area = torch.from_numpy(math.pi * (outer[used] ** 2 - inner**2)).float()
        edges.append(outer[used])
        fluxes.append(mean[..., torch.from_numpy(used)] * area)
        covered.append((count / whole)[:, torch.from_numpy(used)] > _FEWEST_COVERED)
        start = float(outer[-1])
    return (
        torch.from_numpy(np.concatenate(edges)),
        torch.cat(fluxes, -1).double().cumsum(-1),
        torch.cat(covered, -1),
    )


def _petrosian(radii: np.ndarray, growth: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Return the Petrosian radius; beyond `reach` it is extrapolated to twice that radius."""
    inner = np.concatenate([[0.0], radii[:-1]])
    light = np.diff(growth, prepend=0, axis=1)
    local = light / (np.pi * (radii**2 - inner**2))
    middle = np.sqrt((radii**2 + inner**2) / 2)
    mean = (growth - light / 2) / (np.pi * middle**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(mean > 0, local / mean, 0.0)
    ratio[:, 0] = 1.0
    below = ratio < PETROSIAN_RATIO
    # Two rings in a row are below, so that a noisy one does not count.
    lasting = below & np.concatenate([below[:, 1:], below[:, -1:]], 1) & (middle <= reach[:, None])
    place = np.where(lasting.any(1), lasting.argmax(1), 1)
    row = np.arange(len(growth))
    high, low = ratio[row, place - 1], ratio[row, place]
    share = ((high - PETROSIAN_RATIO) / np.maximum(high - low, 1e-9)).clip(0, 1)
    crossing = middle[place - 1] + share * (middle[place] - middle[place - 1])
    crossing = np.where(lasting.any(1), crossing, 2 * np.maximum(reach, radii[0]))
    return np.asarray(np.where(growth[:, 2] > 0, crossing, np.nan))


def _at(radii: np.ndarray, growth: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Interpolate each row of growth at its own radius, linearly in area."""
    x = np.concatenate([[0.0], radii**2])
    y = np.concatenate([np.zeros((len(growth), 1)), growth], 1)
    target = np.nan_to_num(where) ** 2
    place = np.searchsorted(x, target).clip(1, len(x) - 1)
    row = np.arange(len(growth))
    share = ((target - x[place - 1]) / (x[place] - x[place - 1])).clip(0, 1)
    return np.asarray(y[row, place - 1] * (1 - share) + y[row, place] * share)


def _radius_of(radii: np.ndarray, growth: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the radius at which each row of growth first reaches its own level."""
    x = np.concatenate([[0.0], radii**2])
    y = np.concatenate([np.zeros((len(growth), 1)), growth], 1)
    place = np.maximum((y >= level[:, None]).argmax(1), 1)
    row = np.arange(len(growth))
    low, high = y[row, place - 1], y[row, place]
    share = ((level - low) / np.maximum(high - low, _TINY)).clip(0, 1)
    return np.asarray(np.sqrt(x[place - 1] + share * (x[place] - x[place - 1])))


def _edge_share(
    radii: np.ndarray, growth: np.ndarray, reach: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Return the brightness at the edge over the mean brightness; zero if it is noise.

    It is the least of several rings, since only neighbours make a galaxy brighter outwards. `noise`
    is that of the flux in one square arcsecond.
    """
    total = _at(radii, growth, reach)
    within = [_at(radii, growth, share * reach) for share in _EDGE_RINGS]
    rings = np.diff(np.stack(within), axis=0) / np.diff(np.square(_EDGE_RINGS))[:, None]
    edge = rings.min(0)  # flux of the whole area at that brightness
    area = math.pi * np.maximum(reach, _TINY) ** 2
    width = 1 - _EDGE_RINGS[-2] ** 2
    seen = (total > 0) & (edge * width > _EDGE_SIGMA * noise * np.sqrt(width * area))
    return np.where(seen, edge / np.where(seen, total, 1), 0.0).astype(np.float32)


def _main_grid(
    light: list[Tensor], seen: list[Tensor], plane: np.ndarray, aperture: np.ndarray, frame: Frame
) -> tuple[Tensor, np.ndarray, Tensor]:
    """Return one band on the grid that holds the aperture, (n, y, x), its pixel, and coverage."""
    rows, at = torch.arange(len(plane)), torch.from_numpy(plane)
    image, cover = light[0][rows, at], seen[0]
    scale = np.full(len(plane), frame.pixel_scale_arcsec)
    wide = np.nan_to_num(aperture) > frame.field_of_view_arcsec / 2
    if len(light) > 1 and wide.any():
        chosen = torch.from_numpy(wide)
        edge = [(frame.pixels - light[1].shape[-1]) // 2] * 4
        image[chosen] = functional.pad(light[1][rows[chosen], at[chosen]], edge)
        cover = cover.clone()
        cover[chosen] = functional.pad(seen[1][chosen], edge)
        scale[wide] = frame.scales_arcsec[1]
    return image, scale, cover


def _shape(image: Tensor, scale: np.ndarray, r50: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return axis ratio and position angle [deg] of adaptive moments."""
    start = torch.from_numpy(np.nan_to_num(r50, nan=1.0) / scale).float()
    ratio, angle = adaptive_shape(image, start.clamp(1.0, image.shape[-1] / 4))
    return ratio.numpy(), angle.numpy()


def _asymmetry(
    image: Tensor, scale: np.ndarray, cover: Tensor, sigma: Tensor, aperture: np.ndarray
) -> np.ndarray:
    side = image.shape[-1]
    ramp = torch.arange(side) - (side - 1) / 2
    radius = torch.hypot(ramp[:, None], ramp)
    inside = radius <= torch.from_numpy(np.nan_to_num(aperture) / scale).float()[:, None, None]
    inside = inside & (cover * cover.flip(-1, -2) > 0)
    residual = ((image - image.flip(-1, -2)).abs() * inside).sum((1, 2))
    # The difference of two pixels of noise sigma has the mean modulus 2 sigma / sqrt(pi).
    expected = 2 / math.sqrt(math.pi) * sigma * inside.sum((1, 2))
    total = (image.abs() * inside).sum((1, 2)).clamp_min(_TINY)
    return np.asarray(((residual - expected) / total).numpy())
