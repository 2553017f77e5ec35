"""Images outside the domain: made of the training sky, each kind for one reason."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from catalogs.simulation.artefacts import add_artefacts
from training.readings.light import Light

_GAINS_MAG = (0.3, 2.5)  # zeropoint errors
_ONE_BAND = 0.4  # share of them in one band only
_STAR_MAG = (13.0, 20.5)  # r of stars
_REVERSED = 0.5  # share of wrong orders that are reversed
_STAR_COLOURS = (0.2, 1.6)  # g - r, and r - z is as wide
_OVERSAMPLED = 5
_LARGE_ARCSEC = (25.0, 90.0)  # half-light radius of galaxies larger than the frame


def swapped_bands(light: Light, rng: np.random.Generator) -> Light:
    """Exchange bands: at least two of those that are there change places."""
    grids = [grid.clone() for grid in light.grids]
    for i, present in enumerate(light.present.numpy()):
        have = np.flatnonzero(present)
        order = have[::-1].copy() if rng.random() < _REVERSED else have
        while len(have) > 1 and (order == have).all():
            order = rng.permutation(have)
        for new, old in zip(grids, light.grids, strict=True):
            new[i, have] = old[i, order]
    return light.with_grids(grids)


def wrong_zeropoint(light: Light, rng: np.random.Generator) -> Light:
    """Scale the flux of all bands, or of one, by at least 0.3 mag."""
    n, bands = light.noise.shape
    error = rng.uniform(*_GAINS_MAG, (n, 1)) * rng.choice([-1, 1], (n, 1))
    error = np.repeat(error, bands, 1)
    present = light.present.numpy()
    for i in np.flatnonzero((rng.random(n) < _ONE_BAND) & (present.sum(1) > 1)):
        error[i, np.arange(bands) != rng.choice(np.flatnonzero(present[i]))] = 0
    gain = torch.from_numpy(10 ** (0.4 * error)).float()[..., None, None]
    return light.with_grids([grid * gain for grid in light.grids])


def blank(light: Light, rng: np.random.Generator) -> Light:
    """Move the galaxy out of the middle: what comes there is sky, or a faint neighbour."""
    side = light.frame.pixels
    factor = round(light.frame.scales_arcsec[1] / light.frame.scales_arcsec[0])
    shift = rng.integers(side // 3, side // 2, (len(light), 2)) // factor * factor
    shift *= rng.choice([-1, 1], shift.shape)
    grids = []
    for grid, step in zip(light.grids, (shift, shift // factor), strict=True):
        moved = [
            image.roll(tuple(map(int, by)), (-2, -1)) for image, by in zip(grid, step, strict=True)
        ]
        grids.append(torch.stack(moved))
    return light.with_grids(grids)


def star(light: Light, rng: np.random.Generator) -> Light:
    """Put a star where there is no galaxy; bright ones are saturated."""
    n, bands = light.noise.shape
    r_mag = rng.uniform(*_STAR_MAG, n)
    colour = rng.uniform(*_STAR_COLOURS, n)
    slope = np.stack([colour, np.zeros(n), -colour * rng.uniform(0.4, 1.1, n)], 1)[:, :bands]
    flux = torch.from_numpy(10 ** (0.4 * (22.5 - r_mag[:, None] - slope))).float()
    offset = torch.from_numpy(rng.normal(0, 0.25, (n, 2))).float()
    empty = blank(light, rng)
    full = torch.from_numpy(10 ** rng.uniform(1.0, 4.0, n)).float()
    full = torch.where(torch.from_numpy(rng.random(n) < 0.4), full, torch.inf)[:, None, None, None]
    grids = []
    for number, grid in enumerate(empty.grids):
        image = grid + flux[..., None, None] * _moffat(light, number, offset)
        grids.append(torch.minimum(image, full))
    return light.with_grids(grids)


def _moffat(light: Light, grid: int, offset: Tensor) -> Tensor:
    """Moffat PSF of beta 3.5 and unit flux, averaged over the pixels of a grid."""
    pixel, side = light.frame.scales_arcsec[grid], light.frame.pixels
    ramp = (torch.arange(side * _OVERSAMPLED) + 0.5) / _OVERSAMPLED - side / 2
    x, y = (ramp * pixel)[None, None, None, :], (ramp * pixel)[None, None, :, None]
    alpha = (light.psf_fwhm_arcsec / 2 / np.sqrt(2 ** (1 / 3.5) - 1))[..., None, None]
    parts = []
    for i in range(len(light)):
        squared = (x - offset[i, 0]) ** 2 + (y - offset[i, 1]) ** 2
        fine = (1 + squared / alpha[i : i + 1] ** 2) ** -3.5
        image = functional.avg_pool2d(fine, _OVERSAMPLED)
        parts.append(image / (image.sum((2, 3), keepdim=True) * pixel**2))
    return torch.cat(parts)


def artefact(light: Light, rng: np.random.Generator) -> Light:
    """Spoil images: bleed and satellite trails, jumps, stripes, noise, hot pixels and glare."""
    names = ("bleed", "satellite", "jump", "stripes", "noise", "spots", "glare")
    kind = rng.choice(names, len(light)).astype(object)
    seed = int(rng.integers(2**31))
    grids = []
    for number, grid in enumerate(light.grids):
        image, own = grid.clone(), np.random.default_rng(seed)  # the same on both grids
        sigma = light.sigma(number)[..., 0, 0].numpy()
        add_artefacts(image, sigma, kind, light.frame.scales_arcsec[number], own)
        for name, spoil in _SPOILERS.items():
            for i in np.flatnonzero(kind == name):
                image[i] = spoil(light, number, image[i], int(i), own)
        grids.append(image)
    return light.with_grids(grids)


def _jump(light: Light, grid: int, image: Tensor, row: int, rng: np.random.Generator) -> Tensor:
    x, y = light.coordinates(grid)
    edge, height = rng.uniform(-8, 8), 10 ** rng.uniform(1.2, 2.4)
    beyond = ((x if rng.random() < 0.5 else y) > edge).float()
    return image + beyond * height * light.sigma(0)[row]


def _stripes(light: Light, grid: int, image: Tensor, row: int, rng: np.random.Generator) -> Tensor:
    x, y = light.coordinates(grid)
    period, height = rng.uniform(3, 12), 10 ** rng.uniform(1.0, 2.0)
    wave = torch.sin(2 * np.pi * (x if rng.random() < 0.5 else y) / period)
    return image + wave * height * light.sigma(0)[row]


def _noise(light: Light, grid: int, image: Tensor, row: int, rng: np.random.Generator) -> Tensor:
    random = torch.Generator().manual_seed(int(rng.integers(2**31)))
    band = torch.from_numpy(rng.random(len(image)) < 0.5).float()
    band[rng.integers(len(image))] = 1
    strength = 10 ** rng.uniform(1.0, 2.0) * band[:, None, None] * light.sigma(grid)[row]
    return image + torch.randn(image.shape, generator=random) * strength


def _spots(light: Light, grid: int, image: Tensor, row: int, rng: np.random.Generator) -> Tensor:
    x, y = light.coordinates(grid)
    band, result = int(rng.integers(len(image))), image.clone()
    for _ in range(int(rng.integers(3, 12))):
        x0, y0 = rng.uniform(-12, 12, 2)
        width, height = rng.uniform(0.3, 0.8), 10 ** rng.uniform(1.7, 3.0)
        spot = torch.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * width**2))
        result[band] += spot * height * light.sigma(0)[row, band]
    return result


def _glare(light: Light, grid: int, image: Tensor, row: int, rng: np.random.Generator) -> Tensor:
    """Ring of an out-of-focus ghost, or the halo of a bright star beyond the edge."""
    x, y = light.coordinates(grid)
    x0, y0 = rng.uniform(-25, 25, 2)
    radius, height = torch.hypot(x - x0, y - y0), 10 ** rng.uniform(1.3, 2.5)
    size = rng.uniform(6, 25)
    ghost = torch.sigmoid((size - radius) * 3) - 0.6 * torch.sigmoid((0.4 * size - radius) * 3)
    halo = (1 + radius / size) ** -2.0 * 3
    return image + (ghost if rng.random() < 0.5 else halo) * height * light.sigma(0)[row]


_SPOILERS: dict[str, Callable[[Light, int, Tensor, int, np.random.Generator], Tensor]] = {
    "jump": _jump,
    "stripes": _stripes,
    "noise": _noise,
    "spots": _spots,
    "glare": _glare,
}


def enlarged(light: Light, half_light_arcsec: np.ndarray, rng: np.random.Generator) -> Light:
    """Enlarge noise-free images of galaxies until they do not fit the frame, and add noise."""
    side = light.frame.pixels
    factor = (
        np.exp(rng.uniform(np.log(_LARGE_ARCSEC[0]), np.log(_LARGE_ARCSEC[1]), len(light)))
        / half_light_arcsec
    )
    factor = torch.from_numpy(factor.clip(1, 24)).float()
    random = torch.Generator().manual_seed(int(rng.integers(2**62)))
    zero = torch.zeros(len(light))
    matrix = torch.stack([1 / factor, zero, zero, zero, 1 / factor, zero], 1).reshape(-1, 2, 3)
    grids = []
    for number, grid in enumerate(light.grids):
        places = functional.affine_grid(matrix, [*grid.shape[:2], side, side], False)
        image = functional.grid_sample(grid, places, "bilinear", "border", align_corners=False)
        noise = torch.randn(image.shape, generator=random) * light.sigma(number)
        grids.append((image + noise) * light.present[..., None, None])
    return light.with_grids(grids)


KINDS: dict[str, Callable[[Light, np.random.Generator], Light]] = {
    "bands": swapped_bands,
    "zeropoint": wrong_zeropoint,
    "star": star,
    "artefact": artefact,
    "blank": blank,
}
"""Kinds that any image of the sky can become."""

REASONS = {
    "bands": "colours that no galaxy has: are the bands in order?",
    "zeropoint": "flux, colour and noise do not agree: is the zeropoint right?",
    "star": "a star",
    "artefact": "an artefact",
    "blank": "no galaxy in the middle",
    "large": "larger than its cutout or the frame",
}
"""Words for each kind."""
