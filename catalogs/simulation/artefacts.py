"""Artefacts of single cutouts: a saturated star, a satellite trail, the edge of a detector."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from catalogs.simulation.patches import float_tensor

ARTEFACTS = ("bleed", "satellite", "chip-edge")  # kinds of artefact


def add_artefacts(
    flux: Tensor, sigma: np.ndarray, artefact: np.ndarray, pixel: float, rng: np.random.Generator
) -> None:
    """Add artefacts to (n, bands, y, x) cutouts in place; sigma is their (n, bands) sky noise."""
    side = flux.shape[-1]
    ramp = (torch.arange(side) - (side - 1) / 2) * pixel
    y, x = ramp[:, None], ramp[None, :]
    for kind, add in zip(ARTEFACTS, (_bleed, _satellite, _chip_edge), strict=True):
        rows = torch.from_numpy(np.flatnonzero(artefact == kind))
        if len(rows):
            scale = float_tensor(sigma[rows.numpy()])[..., None, None]
            flux[rows] = add(flux[rows], scale, x, y, rng)


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
    """Blank the pixels beyond a row or column, to zero or NaN as pipelines do."""
    along_x = _uniform(rng, -1, 1, len(flux)) > 0
    sign = torch.where(_uniform(rng, -1, 1, len(flux)) > 0, 1.0, -1.0)
    beyond = sign * torch.where(along_x, x, y) > _uniform(rng, 2, 14, len(flux))
    blank = torch.where(_uniform(rng, -1, 1, len(flux)) > 0, 0.0, math.nan)
    return torch.where(beyond, blank, flux)


def _uniform(rng: np.random.Generator, low: float, high: float, n: int) -> Tensor:
    return float_tensor(rng.uniform(low, high, n))[:, None, None, None]
