"""Render parametric galaxies as spatial spectra.

Smooth light has an analytic spectrum: an exponential disc is ``(1 + (2 pi k h)^2)^-3/2``. A de
Vaucouleurs bulge is a sum of such discs with positive weights, which exist by Bernstein's theorem
because its profile is completely monotone. Cusps therefore need no sub-pixels. A ring is a circle
convolved with a Gaussian. Round Gaussians are products of a factor in each direction.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pyarrow as pa
import torch
from scipy.optimize import nnls
from torch import Tensor

from catalogs.simulation.arms import arm_spectrum
from catalogs.simulation.colours import POPULATIONS, component_mix
from catalogs.simulation.components import (
    EXPONENTIAL,
    GAUSSIAN,
    RING,
    Beads,
    Profiles,
    galaxy_beads,
    galaxy_profiles,
    join,
    neighbour_beads,
    neighbour_profiles,
)
from catalogs.simulation.half_light import SERSIC_B4
from catalogs.simulation.patches import Frequencies, float_tensor, nanomaggies, unit_phase

_LEAST_LIGHT = 0.002  # share of a de Vaucouleurs profile below which a disc of it is left out
_STRIP = 50_000  # frequencies rendered at a time, so that they stay in the processor's cache


def render_galaxies(
    truth: pa.Table, neighbours: pa.Table, knots: np.ndarray, frequencies: Frequencies
) -> Tensor:
    """Return (n, 4, side, half + 1) spectra of `Galaxies` in r [nanomaggy], by population."""
    galaxies, near = _arrays(truth), _arrays(neighbours)
    profiles = join([galaxy_profiles(galaxies), neighbour_profiles(near)])
    beads = join([galaxy_beads(galaxies, knots), neighbour_beads(near)])
    spectra = _rendered(truth.num_rows, frequencies, profiles, beads)
    arms = component_mix(galaxies)["arm"] * nanomaggies(galaxies["r_mag"])[:, None]
    for row in np.flatnonzero(arms.any(1)).tolist():
        spectrum = arm_spectrum(galaxies, row, frequencies)
        for population in np.flatnonzero(arms[row]):
            spectra[row, population].add_(spectrum, alpha=float(arms[row, population]))
    return spectra


def render_neighbours(n: int, neighbours: pa.Table, frequencies: Frequencies) -> Tensor:
    """Return (n, 4, side, half + 1) spectra in r [nanomaggy] of the `Galaxies.neighbours` alone."""
    near = _arrays(neighbours)
    return _rendered(n, frequencies, neighbour_profiles(near), neighbour_beads(near))


def profile_transform(kind: int, square: Tensor, width: Tensor | float = 0.0) -> Tensor:
    """Return the Fourier transform of a profile of unit flux and radius, from (2 pi k radius)^2.

    `width` is that of a ring, the standard deviation over the radius.
    """
    if kind == GAUSSIAN:
        return torch.exp(-square / 2)
    if kind == EXPONENTIAL:
        disc: Tensor = (1 + square).rsqrt_()
        return disc.pow_(3)
    if kind == RING:
        circle: Tensor = torch.special.bessel_j0(square.sqrt())
        return circle * torch.exp(-0.5 * width**2 * square)
    total, part = torch.zeros_like(square), torch.empty_like(square)
    for share, scale in zip(*_de_vaucouleurs(), strict=True):
        torch.mul(square, scale**2, out=part).add_(1).rsqrt_().pow_(3)
        total.add_(part, alpha=share)
    return total


def _rendered(n: int, frequencies: Frequencies, profiles: Profiles, beads: Beads) -> Tensor:
    size = (n, POPULATIONS, frequencies.side, frequencies.half + 1)
    spectra = torch.zeros(size, dtype=torch.complex64)
    for row, spectrum in enumerate(spectra):
        _add_beads(spectrum, frequencies, beads, np.flatnonzero(beads.host == row))
        _add_profiles(spectrum, frequencies, profiles, np.flatnonzero(profiles.host == row))
    return spectra


def _add_beads(spectrum: Tensor, frequencies: Frequencies, beads: Beads, rows: np.ndarray) -> None:
    if not len(rows):
        return
    north, east = frequencies.phase(beads.east[rows], beads.north[rows])
    spread = -2 * (math.pi * float_tensor(beads.size[rows])[:, None]) ** 2
    x = east[:, 0] * torch.exp(spread * frequencies.east**2)
    y = north[..., 0] * torch.exp(spread * frequencies.north**2)
    flux = float_tensor(beads.flux[rows])
    torch.matmul((flux.T[:, :, None] * y).mT, x, out=spectrum)


def _add_profiles(
    spectrum: Tensor, frequencies: Frequencies, profiles: Profiles, rows: np.ndarray
) -> None:
    """Add profiles to a (populations, side, half + 1) spectrum, strip by strip."""
    still = (profiles.east[rows] == 0) & (profiles.north[rows] == 0)
    if not len(rows):
        return
    strip = max(_STRIP // len(frequencies.east), 1)
    for first in range(0, frequencies.side, strip):
        part = slice(first, min(first + strip, frequencies.side))
        kx, ky = frequencies.east, frequencies.north[part, None]
        out = torch.view_as_real(spectrum)[:, part]
        real, imaginary = [], []
        for row in rows:
            light = _transform(profiles, row, kx, ky)
            phase = _phase(profiles, row, kx, ky)
            real.append(light if phase is None else light * phase.real)
            imaginary.append(None if phase is None else light * phase.imag)
        out[..., 0] += _mixed(profiles.flux[rows], real)
        moved = [light for light in imaginary if light is not None]
        if moved:
            out[..., 1] += _mixed(profiles.flux[rows[~still]], moved)


def _mixed(flux: np.ndarray, lights: list[Tensor]) -> Tensor:
    """Sum m (rows, columns) lights with (m, populations) fluxes."""
    total: Tensor = torch.tensordot(float_tensor(flux.T), torch.stack(lights), dims=1)
    return total


def _phase(profiles: Profiles, row: int, kx: Tensor, ky: Tensor) -> Tensor | None:
    """(rows, half + 1) factor that moves a profile to its place, None if it is in the middle."""
    east, north = float(profiles.east[row]), float(profiles.north[row])
    return None if east == north == 0 else unit_phase(-ky * north) * unit_phase(-kx * east)


def _transform(profiles: Profiles, row: int, kx: Tensor, ky: Tensor) -> Tensor:
    """(rows, half + 1) transform of a centred profile of unit flux."""
    xx, xy, yy = (4 * math.pi**2 * profiles.shape[row]).tolist()
    square = (2 * xy * ky) * kx
    square += xx * kx**2
    square += yy * ky**2
    square.clamp_min_(0)  # rounding
    return profile_transform(int(profiles.kind[row]), square, float(profiles.width[row]))


@lru_cache(maxsize=1)
def _de_vaucouleurs() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Shares of light and scale lengths [half-light radius] of the exponentials that sum to it."""
    radius = np.geomspace(1e-4, 40, 400)
    profile = np.exp(-SERSIC_B4 * radius**0.25)
    scale = np.geomspace(1e-3, 5, 10)
    importance = np.sqrt(radius**2 * profile)[:, None]
    basis = np.exp(-radius[:, None] / scale) / profile[:, None]
    amplitude, _ = nnls(basis * importance, importance[:, 0])
    light = amplitude * scale**2 / (amplitude * scale**2).sum()
    counts = light > _LEAST_LIGHT
    return tuple(light[counts] / light[counts].sum()), tuple(scale[counts])


def _arrays(table: pa.Table) -> dict[str, np.ndarray]:
    numbers = (name for name in table.column_names if not pa.types.is_string(table[name].type))
    return {name: table[name].to_numpy() for name in numbers}
