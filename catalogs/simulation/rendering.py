"""Render parametric galaxies as spatial spectra.

Smooth light has an analytic spectrum: an exponential disc is ``(1 + (2 pi k h)^2)^-3/2``. A de
Vaucouleurs bulge is a sum of such discs with positive weights, which exist by Bernstein's theorem
because its profile is completely monotone. Cusps therefore need no sub-pixels. Spiral arms are
drawn in the plane of the disc and transformed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import torch
from scipy.optimize import nnls
from torch import Tensor

from catalogs.simulation.colours import (
    POPULATIONS,
    component_colour,
    component_shares,
    population_shares,
)
from catalogs.simulation.patches import Frequencies, float_tensor, nanomaggies

__all__ = ["DE_VAUCOULEURS", "DISC_HALF_LIGHT", "SERSIC_B4", "profile_transform", "render_galaxies"]

EXPONENTIAL, DE_VAUCOULEURS, GAUSSIAN = range(3)
DISC_HALF_LIGHT = 1.67834699  # half-light radius of an exponential disc over its scale length
SERSIC_B4 = 7.66924944  # coefficient of the de Vaucouleurs profile
_AT_A_TIME = 32  # profiles, to bound memory
_ARM_FREQUENCIES = 125  # at least, so that arms are sampled every 0.17 arcsec


def render_galaxies(
    truth: pa.Table, neighbours: pa.Table, knots: np.ndarray, frequencies: Frequencies
) -> Tensor:
    """Return (n, 3, side, half + 1) spectra of `Galaxies` in r [nanomaggy], by population."""
    galaxies = _arrays(truth)
    size = (truth.num_rows, POPULATIONS, frequencies.side, frequencies.half + 1)
    spectra = torch.zeros(size, dtype=torch.complex64)
    _add_profiles(spectra, frequencies, _profiles(galaxies, _arrays(neighbours)))
    _add_arms(spectra, frequencies, galaxies, knots)
    return spectra


def profile_transform(kind: int, square: Tensor) -> Tensor:
    """Return the Fourier transform of a profile of unit flux and radius, from (2 pi k radius)^2."""
    if kind == GAUSSIAN:
        return torch.exp(-square / 2)
    if kind == EXPONENTIAL:
        return (1 + square) ** -1.5
    total = torch.zeros_like(square)
    for share, scale in zip(*_de_vaucouleurs(), strict=True):
        total += share * (1 + scale**2 * square).rsqrt_().pow_(3)
    return total


@dataclass(frozen=True)
class _Profiles:
    """m smooth components: kind, patch, place, r flux, colour, and covariance of the radii."""

    kind: np.ndarray
    host: np.ndarray
    east: np.ndarray
    north: np.ndarray
    flux: np.ndarray
    g_minus_r: np.ndarray
    shape: np.ndarray  # (m, 3): east-east, east-north, north-north [arcsec^2]


def _profiles(truth: dict[str, np.ndarray], near: dict[str, np.ndarray]) -> _Profiles:
    n, flux = len(truth["r_mag"]), nanomaggies(truth["r_mag"])
    shares, pa, q = component_shares(truth), truth["position_angle_deg"], truth["axis_ratio"]
    elliptical = truth["bulge_fraction"] == 1
    bulge_q = np.where(elliptical, q, 1 - 0.5 * (1 - q))  # a bulge is rounder than its disc
    shapes = {
        "bulge": _ellipse(truth["bulge_half_light_arcsec"], bulge_q, pa),
        "bar": _bar_shape(truth),
        "disc": _ellipse(truth["disc_half_light_arcsec"] / DISC_HALF_LIGHT, q, pa),
    }
    near_size = near["half_light_arcsec"] / np.where(near["is_bulge"], 1.0, DISC_HALF_LIGHT)
    near_shape = _ellipse(near_size, near["axis_ratio"], near["position_angle_deg"])
    every = _Profiles(
        kind=np.append(
            np.repeat([DE_VAUCOULEURS, GAUSSIAN, EXPONENTIAL], n),
            np.where(near["is_bulge"], DE_VAUCOULEURS, EXPONENTIAL),
        ),
        host=np.concatenate([np.tile(np.arange(n), 3), near["host"]]),
        east=np.concatenate([np.zeros(3 * n), near["east_arcsec"]]),
        north=np.concatenate([np.zeros(3 * n), near["north_arcsec"]]),
        flux=np.concatenate([*(flux * shares[c] for c in shapes), nanomaggies(near["r_mag"])]),
        g_minus_r=np.concatenate(
            [*(component_colour(truth, c) for c in shapes), near["g_minus_r"]]
        ),
        shape=np.concatenate([*shapes.values(), near_shape]),
    )
    lit = every.flux > 0
    return _Profiles(**{name: values[lit] for name, values in vars(every).items()})


def _add_profiles(spectra: Tensor, frequencies: Frequencies, profiles: _Profiles) -> None:
    weights = profiles.flux[:, None] * population_shares(profiles.g_minus_r)
    kx, ky = 2 * math.pi * frequencies.east[None, :], 2 * math.pi * frequencies.north[:, None]
    for kind in (EXPONENTIAL, DE_VAUCOULEURS, GAUSSIAN):
        every = np.flatnonzero(profiles.kind == kind)
        for rows in np.array_split(every, -(-len(every) // _AT_A_TIME) or 1):
            shape = float_tensor(profiles.shape[rows])[:, :, None, None]
            square = shape[:, 0] * kx**2 + 2 * shape[:, 1] * kx * ky + shape[:, 2] * ky**2
            north, east = frequencies.phase(profiles.east[rows], profiles.north[rows])
            light = profile_transform(kind, square) * (north * east)
            host = torch.from_numpy(profiles.host[rows])
            for i in range(spectra.shape[1]):
                weight = float_tensor(weights[rows, i])[:, None, None]
                spectra[:, i].index_add_(0, host, light * weight)


@lru_cache(maxsize=1)
def _de_vaucouleurs() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Shares of light and scale lengths [half-light radius] of the exponentials that sum to it."""
    radius = np.geomspace(1e-4, 40, 400)
    profile = np.exp(-SERSIC_B4 * radius**0.25)
    scale = np.geomspace(1e-3, 5, 10)
    importance = np.sqrt(radius**2 * profile)[:, None]
    basis = np.exp(-radius[:, None] / scale) / profile[:, None]
    amplitude, _ = nnls(basis * importance, importance[:, 0])
    light = amplitude * scale**2
    return tuple(light / light.sum()), tuple(scale)


def _ellipse(radius: np.ndarray, axis_ratio: np.ndarray, angle_deg: np.ndarray) -> np.ndarray:
    """(m, 3) covariance with a major axis at an angle east of north."""
    sin, cos = np.sin(np.radians(angle_deg)), np.cos(np.radians(angle_deg))
    q2 = axis_ratio**2
    unit = np.stack([sin**2 + q2 * cos**2, (1 - q2) * sin * cos, cos**2 + q2 * sin**2], axis=-1)
    return np.asarray(radius[:, None] ** 2 * unit)


def _bar_shape(truth: dict[str, np.ndarray]) -> np.ndarray:
    """Incline a bar that lies in the plane of its disc: shrunk along the disc's minor axis."""
    flat = _ellipse(
        truth["bar_half_length_arcsec"] / 2, truth["bar_axis_ratio"], truth["bar_angle_deg"]
    )
    q, pa = truth["axis_ratio"], np.radians(truth["position_angle_deg"])
    across, mixed, along = flat[:, 0] * q**2, flat[:, 1] * q, flat[:, 2]
    sin, cos = np.sin(pa), np.cos(pa)
    return np.stack(
        [
            along * sin**2 + 2 * mixed * sin * cos + across * cos**2,
            (along - across) * sin * cos + mixed * (cos**2 - sin**2),
            along * cos**2 - 2 * mixed * sin * cos + across * sin**2,
        ],
        axis=-1,
    )


def _add_arms(
    spectra: Tensor, frequencies: Frequencies, truth: dict[str, np.ndarray], knots: np.ndarray
) -> None:
    rows = np.flatnonzero(truth["arm_strength"] > 0)
    armed = {name: values[rows] for name, values in truth.items()}
    knots_x, knots_y = _knot_factors(frequencies, knots[rows])
    fine = Frequencies(max(frequencies.half, _ARM_FREQUENCIES), frequencies.field_arcsec)
    arms = fine.keep(fine.spectrum(_arm_images(fine, armed)), frequencies)
    light = {"arm": arms, "knot": knots_y @ knots_x}
    shares, flux = component_shares(armed), nanomaggies(armed["r_mag"])
    for name, spectrum in light.items():
        weights = float_tensor(
            (flux * shares[name])[:, None] * population_shares(component_colour(armed, name))
        )
        for i in range(spectra.shape[1]):
            spectra[rows, i] += spectrum * weights[:, i, None, None]


def _arm_images(frequencies: Frequencies, truth: dict[str, np.ndarray]) -> Tensor:
    """(m, side, side) logarithmic spirals over an exponential disc, of unit flux."""
    value = {name: float_tensor(values)[:, None, None] for name, values in truth.items()}
    pa = torch.deg2rad(value["position_angle_deg"])
    east, north = frequencies.offsets[None, None, :], frequencies.offsets[None, :, None]
    scale = value["disc_half_light_arcsec"] / DISC_HALF_LIGHT
    along = (east * torch.sin(pa) + north * torch.cos(pa)) / scale
    across = (east * torch.cos(pa) - north * torch.sin(pa)) / (scale * value["axis_ratio"])
    radius = torch.hypot(along, across).clamp_min_(1e-3)
    azimuth = value["arm_sense"] * torch.atan2(across, along)
    winding = torch.log(radius) / torch.tan(torch.deg2rad(value["pitch_deg"]))
    crest = value["n_arms"] * (azimuth - winding) + value["arm_phase"]
    lopsided = 1 + 0.35 * torch.cos(azimuth + 3 * value["arm_phase"])
    hole = torch.where(
        value["bar_strength"] > 0, value["bar_half_length_arcsec"] / scale * 0.8, 0.5
    )
    inner = 1 / (1 + (hole / radius) ** 3)
    ridge = torch.exp(value["arm_sharpness"] * (torch.cos(crest) - 1))
    image = torch.exp(-radius) * inner * ridge * lopsided
    return image / (image.sum((1, 2), keepdim=True) * frequencies.pixel_arcsec**2)


def _knot_factors(frequencies: Frequencies, knots: np.ndarray) -> tuple[Tensor, Tensor]:
    """(m, knots, half + 1) and (m, side, knots) factors of round Gaussians."""
    m, k = knots.shape[:2]
    east, north, size, share = knots.reshape(m * k, 4).T
    phase_north, phase_east = frequencies.phase(east, north)
    spread = -2 * (math.pi * float_tensor(size)[:, None]) ** 2
    x = phase_east[:, 0] * torch.exp(spread * frequencies.east**2) * float_tensor(share)[:, None]
    y = phase_north[..., 0] * torch.exp(spread * frequencies.north**2)
    return x.reshape(m, k, len(frequencies.east)), y.reshape(
        m, k, len(frequencies.north)
    ).transpose(1, 2)


def _arrays(table: pa.Table) -> dict[str, np.ndarray]:
    numbers = (name for name in table.column_names if not pa.types.is_string(table[name].type))
    return {name: table[name].to_numpy() for name in numbers}
