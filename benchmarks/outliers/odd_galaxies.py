"""Add light to patches of sky that makes galaxies odd: a ring, a companion with a tail, arcs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from catalogs.simulation.colours import population_fluxes, population_shares
from catalogs.simulation.patches import Sky, float_tensor, nanomaggies

_NODES_NM = (481.0, 642.0, 770.0, 925.0)
_YOUNG = (0.15, 0.5)  # g-r of rings, tails and arcs
_RING_RADII, _RING_WIDTH = (1.3, 2.2), 0.2  # over half-light radius, over its own radius
_APART = (0.8, 2.5)  # of two merging galaxies, over half-light radius
_COMPANION_MAG = (0.0, 1.2)  # fainter than the galaxy
_TAIL_SHARE, _TAIL_TURNS, _TAIL_LENGTH = (0.1, 0.3), (0.2, 0.5), (2.5, 5.0)
_EINSTEIN_ARCSEC, _ARC_WIDTH_ARCSEC = (1.2, 3.0), 0.25
_ARC_DEG = (60.0, 140.0)
_ARC_MAG = (0.3, 1.3)  # fainter than the lens


def add_odd_light(sky: Sky, truth: pa.Table, kinds: np.ndarray, rng: np.random.Generator) -> None:
    """Add light to the patches of galaxies of `ODD_KINDS`, in place.

    `truth` has ``r_mag`` and ``half_light_arcsec`` of each patch's galaxy; `kinds` (n,) names.
    """
    before = sky.spectra.clone() if (kinds == "merger").any() else sky.spectra
    for row in np.flatnonzero(np.isin(kinds, list(_ADDED))):
        galaxy = {name: truth[name][row].as_py() for name in ("r_mag", "half_light_arcsec")}
        if kinds[row] == "merger":
            other = (int(row) + 1) % len(kinds)
            sky.spectra[row] += _companion(sky, before[other], galaxy, truth, other, rng)
        light, mag = _ADDED[kinds[row]](sky, galaxy, rng)
        total = float(nanomaggies(np.array(mag)))
        light *= total / (light.sum() * sky.frequencies.pixel_arcsec**2)
        young = in_components(sky, population_shares(rng.uniform(*_YOUNG, 1))[0])
        sky.spectra[row] += young[:, None, None] * sky.frequencies.spectrum(light)


def in_components(sky: Sky, shares: np.ndarray) -> Tensor:
    """Return light of (4,) shares of the stellar populations in components of a sky."""
    wanted = population_fluxes(_NODES_NM) @ float_tensor(shares)
    light: Tensor = torch.linalg.lstsq(sky.mix(_NODES_NM), wanted[:, None]).solution
    return light[:, 0]


def _companion(
    sky: Sky,
    spectrum: Tensor,
    galaxy: Mapping[str, float],
    truth: pa.Table,
    other: int,
    rng: np.random.Generator,
) -> Tensor:
    """Move another galaxy next to one, at a magnitude near that of the first."""
    wanted = galaxy["r_mag"] + rng.uniform(*_COMPANION_MAG)
    factor = 10 ** (0.4 * (truth["r_mag"][other].as_py() - wanted))
    apart, angle = rng.uniform(*_APART) * galaxy["half_light_arcsec"], rng.uniform(0, 2 * np.pi)
    place = np.array([apart * np.cos(angle)]), np.array([apart * np.sin(angle)])
    north, east = sky.frequencies.phase(*place)
    moved: Tensor = spectrum * north[0] * east[0]
    return moved * float(factor)


def _ring(sky: Sky, galaxy: Mapping[str, float], rng: np.random.Generator) -> tuple[Tensor, float]:
    """Draw a thin inclined ring as bright as the galaxy."""
    x, y = _plane(sky, rng.uniform(0, np.pi))
    radius = galaxy["half_light_arcsec"] * rng.uniform(*_RING_RADII)
    distance = torch.hypot(x, y / rng.uniform(0.5, 1)) - radius
    return torch.exp(-0.5 * (distance / (_RING_WIDTH * radius)).square()), galaxy["r_mag"]


def _tail(sky: Sky, galaxy: Mapping[str, float], rng: np.random.Generator) -> tuple[Tensor, float]:
    """Draw a tidal tail: a curved line of light that leaves the galaxy."""
    x, y = _plane(sky, rng.uniform(0, 2 * np.pi))
    size = galaxy["half_light_arcsec"]
    along = torch.linspace(0.5, 1, 60)
    angle = along * 2 * np.pi * rng.uniform(*_TAIL_TURNS) * rng.choice([-1, 1])
    radius = along * size * rng.uniform(*_TAIL_LENGTH)
    light = torch.zeros_like(x * y)
    for east, north in zip(radius * torch.cos(angle), radius * torch.sin(angle), strict=True):
        light += torch.exp(-0.5 * ((x - east) ** 2 + (y - north) ** 2) / (0.25 * size) ** 2)
    return light, galaxy["r_mag"] - 2.5 * np.log10(rng.uniform(*_TAIL_SHARE))


def _arcs(sky: Sky, galaxy: Mapping[str, float], rng: np.random.Generator) -> tuple[Tensor, float]:
    """Draw the arc of a lensed galaxy, and a shorter one on the other side of the lens."""
    x, y = _plane(sky, rng.uniform(0, 2 * np.pi))
    radius = rng.uniform(*_EINSTEIN_ARCSEC)
    half = np.radians(rng.uniform(*_ARC_DEG)) / 2
    angle = torch.atan2(y, x).abs()
    profile = torch.exp(-0.5 * ((torch.hypot(x, y) - radius) / _ARC_WIDTH_ARCSEC).square())
    shown = torch.sigmoid((half - angle) / 0.1) + torch.sigmoid((half / 3 - (np.pi - angle)) / 0.1)
    return profile * shown, galaxy["r_mag"] + rng.uniform(*_ARC_MAG)


def _plane(sky: Sky, angle: float) -> tuple[Tensor, Tensor]:
    """Return turned coordinates of the patch's pixels [arcsec]."""
    y, x = sky.frequencies.offsets[:, None], sky.frequencies.offsets[None, :]
    cos, sin = np.cos(angle), np.sin(angle)
    return x * cos + y * sin, y * cos - x * sin


_ADDED: Mapping[str, Callable[..., tuple[Tensor, float]]] = {
    "ring": _ring,
    "merger": _tail,
    "lens": _arcs,
}

ODD_KINDS = tuple(_ADDED)
"""Kinds of odd galaxies, which both surveys see."""
