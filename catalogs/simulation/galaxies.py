"""Parametric galaxies: bulge, disc, arms, bar, star-forming knots, and what lies around them.

`draw_galaxies` draws parameters, `Galaxies.render` turns them into patches of sky. Smooth light is
written straight into the spatial spectrum, where an exponential disc is ``(1 + (2 pi k h)^2)^-3/2``
and a de Vaucouleurs bulge is a sum of such discs (its profile is completely monotone, so positive
weights suffice, by Bernstein's theorem); cusps cost no sub-pixels. Spiral arms are drawn in the
plane of the disc and transformed.

Colours come from three stellar populations, mixed to the g-r of each component, so any band has a
flux by its wavelength.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from scipy.interpolate import PchipInterpolator
from scipy.optimize import nnls
from scipy.special import gammainc
from torch import Tensor

from catalogs.simulation.observing import STAMP_ARCSEC, Modes, Sky
from galaxy_da.surveys import NANOMAGGY_ZEROPOINT

__all__ = [
    "LABELS",
    "MAGNITUDES",
    "Galaxies",
    "draw_companions",
    "draw_galaxies",
    "draw_magnitudes",
    "typical_half_light",
]

LABELS = ("elliptical", "disc", "spiral", "barred", "edge-on")
"""Morphological classes."""

MAGNITUDES = (17.0, 21.5)
"""Range of r, the brightest and the faintest [AB mag]."""

REGION_RA_DEG, REGION_DEC_DEG = (130.0, 230.0), (-5.0, 30.0)
"""The part of the sky galaxies are strewn over, evenly [ICRS deg]."""

_LABEL_SHARES = (0.27, 0.17, 0.30, 0.16, 0.10)
_COUNTS_SLOPE = 0.12  # dex / mag; the sky has 0.4 or more, which would leave few bright galaxies
_SIZE_SCATTER = 0.15  # dex
_NEIGHBOURS, _STARS = 1.2, 0.25  # mean number per patch
_KNOTS = 24
_AT_A_TIME = 32  # profiles, to bound memory
_ARM_MODES = 125  # at least, so that arms are sampled every 0.17 arcsec

# Uniform ranges by class, in the order of LABELS.
_RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    "bulge_fraction": ((1.0, 1.0), (0.0, 0.6), (0.0, 0.4), (0.0, 0.35), (0.0, 0.5)),
    "axis_ratio": ((0.55, 1.0), (0.3, 1.0), (0.4, 1.0), (0.45, 1.0), (0.1, 0.22)),
    "arm_strength": ((0.0, 0.0), (0.0, 0.0), (0.25, 0.7), (0.05, 0.55), (0.0, 0.0)),
    "bar_strength": ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.12, 0.3), (0.0, 0.0)),
    "bulge_g_minus_r": ((0.75, 1.1), (0.7, 1.05), (0.7, 1.0), (0.7, 1.0), (0.7, 1.05)),
    "disc_g_minus_r": ((0.75, 1.1), (0.5, 0.9), (0.4, 0.75), (0.45, 0.8), (0.45, 0.85)),
}
_ALWAYS: dict[str, tuple[float, float]] = {
    "position_angle_deg": (0.0, 180.0),
    "bulge_to_disc_size": (0.15, 0.5),  # half-light radii
    "pitch_deg": (9.0, 30.0),
    "arm_sharpness": (1.2, 4.0),
    "arm_phase": (0.0, 2 * math.pi),
    "bar_to_disc_size": (0.5, 1.2),  # half-length over half-light radius
    "bar_axis_ratio": (0.2, 0.4),
    "bar_angle_deg": (0.0, 180.0),  # in the plane of the disc, from its major axis
    "knot_share": (0.0, 0.3),  # of the arms
}

# Magnitudes relative to r of young, intermediate and old populations, near those of star-forming,
# spiral and (redshifted) quiescent galaxies; schematic.
_POPULATION_NM = (300, 355, 481, 642, 770, 925, 1031, 1248, 1631, 2201)
_POPULATION_MAG = (
    (0.80, 0.60, 0.00, 0.0, 0.02, 0.00, 0.00, 0.00, 0.00, 0.30),
    (2.20, 1.75, 0.60, 0.0, -0.30, -0.48, -0.55, -0.75, -0.95, -0.70),
    (3.60, 3.20, 1.50, 0.0, -0.55, -0.90, -1.05, -1.35, -1.70, -1.80),
)
_EXPONENTIAL, _DE_VAUCOULEURS, _GAUSSIAN = range(3)
_DISC_HALF_LIGHT = 1.67834699  # over scale length
_SERSIC_B4 = 7.66924944


@dataclass(frozen=True)
class Galaxies:
    """Galaxies to be rendered.

    Attributes
    ----------
    truth : pa.Table
        One row per galaxy: ``ra``, ``dec`` [ICRS deg], ``label``, ``r_mag`` (the galaxy alone),
        ``half_light_arcsec`` (along the major axis; bar and arms left out), ``bulge_fraction``,
        ``axis_ratio``,
        ``position_angle_deg`` (east of north), ``n_arms``, ``arm_strength`` and ``bar_strength``
        (shares of the disc's light), ``pitch_deg``, ``g_minus_r``, ``n_neighbours``, and the other
        parameters of the drawing.
    neighbours : pa.Table
        Galaxies and stars in the same patches: ``host`` (row of `truth`), ``east_arcsec``,
        ``north_arcsec``, ``r_mag``, ``half_light_arcsec`` (0 for a star), ``axis_ratio``,
        ``position_angle_deg``, ``is_bulge``, ``g_minus_r``.
    knots : (n, knots, 4) float array
        East, north and size [arcsec], and share of the knots' light.
    """

    truth: pa.Table
    neighbours: pa.Table
    knots: np.ndarray

    def render(self, modes: Modes) -> Sky:
        """Write the patches as spatial spectra.

        Parameters
        ----------
        modes : Modes
            Frequencies to fill.

        Returns
        -------
        Sky
            One component per stellar population.
        """
        truth, spectra = _arrays(self.truth), _empty(self.truth.num_rows, modes)
        _add_profiles(spectra, modes, _profiles(truth, _arrays(self.neighbours)))
        _add_arms(spectra, modes, truth, self.knots)
        return Sky(spectra, modes, _population_fluxes)


def draw_galaxies(
    n: int, rng: np.random.Generator, magnitudes: tuple[float, float] = MAGNITUDES
) -> Galaxies:
    """Draw n galaxies and their neighbours.

    r magnitudes rise towards the faint end; half-light radii follow magnitude with log-normal
    scatter; a Poisson number of fainter galaxies and of stars shares each patch, a third of the
    galaxies close enough to overlap.

    Parameters
    ----------
    n : int
        How many.
    rng : numpy Generator
        Source of all randomness.
    magnitudes : (float, float)
        Range of r [AB mag].
    """
    label = rng.choice(len(LABELS), n, p=_LABEL_SHARES)
    truth: dict[str, np.ndarray] = {"r_mag": draw_magnitudes(n, rng, magnitudes)}
    truth["half_light_arcsec"] = typical_half_light(truth["r_mag"], rng)
    for name, ranges in _RANGES.items():
        low, high = np.array(ranges)[label].T
        truth[name] = rng.uniform(low, high)
    for name, (low, high) in _ALWAYS.items():
        truth[name] = rng.uniform(low, high, n)
    pure_disc = (label != LABELS.index("elliptical")) & (rng.random(n) < 0.2)
    truth["bulge_fraction"][pure_disc] = 0.0
    truth["n_arms"] = np.where(
        truth["arm_strength"] > 0, rng.choice([2, 3, 4], n, p=[0.65, 0.2, 0.15]), 0
    )
    truth["arm_sense"] = rng.choice([-1, 1], n)
    truth["arm_g_minus_r"] = truth["disc_g_minus_r"] - rng.uniform(0.1, 0.35, n)
    truth["knot_g_minus_r"] = rng.uniform(0.0, 0.25, n)
    redder = 0.06 * (truth["r_mag"] - 19)  # faint galaxies are further away
    truth["bulge_g_minus_r"] += redder
    truth["disc_g_minus_r"] += redder
    truth |= _sizes(truth)
    neighbours = _draw_neighbours(truth, rng)
    truth["ra"], truth["dec"] = _draw_positions(n, rng)
    truth["g_minus_r"] = _integrated_colour(truth)
    truth["n_neighbours"] = np.bincount(neighbours["host"], minlength=n)
    return Galaxies(
        truth=pa.table({"label": np.array(LABELS)[label], **truth}),
        neighbours=pa.table(neighbours),
        knots=_draw_knots(truth, rng),
    )


def draw_magnitudes(
    n: int, rng: np.random.Generator, magnitudes: tuple[float, float]
) -> np.ndarray:
    """Draw r between two magnitudes from rising counts."""
    low, high = 10 ** (_COUNTS_SLOPE * np.array(magnitudes))
    return np.asarray(np.log10(rng.uniform(low, high, n)) / _COUNTS_SLOPE)


def typical_half_light(r_mag: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw half-light radii [arcsec] for r magnitudes: 3.5 arcsec at 17, 0.8 at 21.5."""
    log_size = 0.25 - 0.145 * (r_mag - 19) + rng.normal(0, _SIZE_SCATTER, len(r_mag))
    return np.asarray(np.clip(10**log_size, 0.15, 7.0))


def _sizes(truth: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Radii of bulge, disc and bar that give the whole its half-light radius."""
    bulge = truth["bulge_fraction"]
    ratio = np.where(bulge == 1, 1.0, truth["bulge_to_disc_size"])
    low, high = np.zeros_like(bulge), np.full_like(bulge, 2.0)  # in half-light radii of the disc
    for _ in range(40):
        middle = (low + high) / 2
        x = middle * _DISC_HALF_LIGHT
        light = bulge * gammainc(8, _SERSIC_B4 * (middle / ratio) ** 0.25)
        light += (1 - bulge) * gammainc(2, x)
        low, high = np.where(light < 0.5, middle, low), np.where(light < 0.5, high, middle)
    disc = truth["half_light_arcsec"] / middle
    return {
        "disc_half_light_arcsec": disc,
        "bulge_half_light_arcsec": disc * ratio,
        "bar_half_length_arcsec": disc * truth["bar_to_disc_size"],
    }


def draw_companions(
    r_mag: np.ndarray, half_light_arcsec: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw the fainter galaxies that share the patches of n galaxies.

    Parameters
    ----------
    r_mag, half_light_arcsec : (n,) float array
        Of the galaxies in the middle.
    rng : numpy Generator
        Source of all randomness.

    Returns
    -------
    dict of (m,) array
        ``host`` (row), ``east_arcsec``, ``north_arcsec``, ``r_mag``; a third overlap their hosts.
    """
    m = rng.poisson(_NEIGHBOURS * len(r_mag))
    host = rng.integers(len(r_mag), size=m)
    angle = rng.uniform(0, 2 * np.pi, m)
    near = half_light_arcsec[host] * rng.uniform(0.8, 3.5, m) * [np.sin(angle), np.cos(angle)]
    east, north = np.where(rng.random(m) < 1 / 3, near, _anywhere(m, rng))
    fainter = r_mag[host] + 0.3 + 4 * np.sqrt(rng.random(m))
    return {
        "host": host,
        "east_arcsec": east,
        "north_arcsec": north,
        "r_mag": np.minimum(fainter, 25.0),
    }


def _draw_neighbours(
    truth: dict[str, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Galaxies and stars around the galaxies of a truth table."""
    galaxies = draw_companions(truth["r_mag"], truth["half_light_arcsec"], rng)
    n, m = len(truth["r_mag"]), rng.poisson(_STARS * len(truth["r_mag"]))
    east, north = _anywhere(m, rng)
    stars = {
        "host": rng.integers(n, size=m),
        "east_arcsec": east,
        "north_arcsec": north,
        "r_mag": rng.uniform(17.5, 23, m),
    }
    both = {name: np.concatenate([galaxies[name], stars[name]]) for name in stars}
    is_star = np.arange(len(both["host"])) >= len(galaxies["host"])
    total = len(is_star)
    return {
        **both,
        "half_light_arcsec": np.where(is_star, 0.0, typical_half_light(both["r_mag"], rng)),
        "axis_ratio": rng.uniform(0.25, 1, total),
        "position_angle_deg": rng.uniform(0, 180, total),
        "is_bulge": ~is_star & (rng.random(total) < 0.35),
        "g_minus_r": rng.uniform(0.2, 1.4, total),
    }


def _anywhere(m: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-STAMP_ARCSEC / 2, STAMP_ARCSEC / 2, (2, m))


def _draw_positions(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.sin(np.radians(REGION_DEC_DEG))
    return rng.uniform(*REGION_RA_DEG, n), np.degrees(np.arcsin(rng.uniform(low, high, n)))


def _draw_knots(truth: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Star-forming knots strewn along the arms."""
    column = {name: values[:, None] for name, values in truth.items()}
    n, scale = len(truth["r_mag"]), column["disc_half_light_arcsec"] / _DISC_HALF_LIGHT
    radius = rng.gamma(3.0, 0.9, (n, _KNOTS)) + 0.4  # in scale lengths
    arms = np.maximum(column["n_arms"], 1)
    winding = np.log(radius) / np.tan(np.radians(column["pitch_deg"]))
    turn = winding + (2 * np.pi * rng.integers(12, size=radius.shape) - column["arm_phase"]) / arms
    angle = column["arm_sense"] * turn + rng.normal(0, 0.12, radius.shape)
    along, across = radius * np.cos(angle), radius * np.sin(angle) * column["axis_ratio"]
    pa = np.radians(column["position_angle_deg"])
    east = scale * (along * np.sin(pa) + across * np.cos(pa))
    north = scale * (along * np.cos(pa) - across * np.sin(pa))
    size = scale * rng.uniform(0.06, 0.18, radius.shape)
    share = rng.lognormal(0, 1.0, radius.shape)
    return np.stack([east, north, size, share / share.sum(1, keepdims=True)], axis=-1)


def _shares(truth: dict[str, Any]) -> dict[str, np.ndarray]:
    """Fractions of the galaxy's r light by component, with the columns of their colours."""
    disc = 1 - truth["bulge_fraction"]
    patterned = disc * truth["arm_strength"]
    return {
        "bulge": truth["bulge_fraction"],
        "bar": disc * truth["bar_strength"],
        "disc": disc * (1 - truth["arm_strength"] - truth["bar_strength"]),
        "arm": patterned * (1 - truth["knot_share"]),
        "knot": patterned * truth["knot_share"],
    }


def _colour(truth: dict[str, Any], component: str) -> np.ndarray:
    return np.asarray(truth[f"{'disc' if component == 'bar' else component}_g_minus_r"])


def _integrated_colour(truth: dict[str, np.ndarray]) -> np.ndarray:
    shares = _shares(truth).items()
    mix = sum(share[:, None] * _populations(_colour(truth, name)) for name, share in shares)
    green, red = (_population_fluxes([nm]).numpy()[0] for nm in (481, 642))
    return np.asarray(-2.5 * np.log10((mix @ green) / (mix @ red)))


# Stellar populations


def _populations(g_minus_r: np.ndarray) -> np.ndarray:
    """(m, 3) shares of the populations in r light that give (m,) colours."""
    known = 10 ** (-0.4 * np.array(_POPULATION_MAG)[:, 2])  # g over r flux, falling
    wanted = 10 ** (-0.4 * np.asarray(g_minus_r))
    unit = np.eye(3)
    return np.stack([np.interp(wanted, known[::-1], unit[i, ::-1]) for i in range(3)], axis=-1)


def _population_fluxes(wavelengths_nm: Sequence[float]) -> Tensor:
    """(wavelengths, 3) flux of each population over its r flux."""
    curves = PchipInterpolator(np.log(_POPULATION_NM), np.array(_POPULATION_MAG), axis=1)
    inside = np.clip(wavelengths_nm, _POPULATION_NM[0], _POPULATION_NM[-1])
    return torch.tensor(10 ** (-0.4 * curves(np.log(inside)).T), dtype=torch.float32)


# Smooth light


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
    n, flux = len(truth["r_mag"]), _flux(truth["r_mag"])
    shares, pa, q = _shares(truth), truth["position_angle_deg"], truth["axis_ratio"]
    elliptical = truth["bulge_fraction"] == 1
    bulge_q = np.where(elliptical, q, 1 - 0.5 * (1 - q))  # a bulge is rounder than its disc
    shapes = {
        "bulge": _ellipse(truth["bulge_half_light_arcsec"], bulge_q, pa),
        "bar": _bar_shape(truth),
        "disc": _ellipse(truth["disc_half_light_arcsec"] / _DISC_HALF_LIGHT, q, pa),
    }
    near_size = near["half_light_arcsec"] / np.where(near["is_bulge"], 1.0, _DISC_HALF_LIGHT)
    near_shape = _ellipse(near_size, near["axis_ratio"], near["position_angle_deg"])
    every = _Profiles(
        kind=np.concatenate(
            [
                np.repeat([_DE_VAUCOULEURS, _GAUSSIAN, _EXPONENTIAL], n),
                np.where(near["is_bulge"], _DE_VAUCOULEURS, _EXPONENTIAL),
            ]
        ),
        host=np.concatenate([np.tile(np.arange(n), 3), near["host"]]),
        east=np.concatenate([np.zeros(3 * n), near["east_arcsec"]]),
        north=np.concatenate([np.zeros(3 * n), near["north_arcsec"]]),
        flux=np.concatenate([*(flux * shares[c] for c in shapes), _flux(near["r_mag"])]),
        g_minus_r=np.concatenate([*(_colour(truth, c) for c in shapes), near["g_minus_r"]]),
        shape=np.concatenate([*shapes.values(), near_shape]),
    )
    lit = every.flux > 0
    return _Profiles(**{name: values[lit] for name, values in vars(every).items()})


def _add_profiles(spectra: Tensor, modes: Modes, profiles: _Profiles) -> None:
    weights = profiles.flux[:, None] * _populations(profiles.g_minus_r)
    kx, ky = 2 * math.pi * modes.east[None, :], 2 * math.pi * modes.north[:, None]
    for kind in (_EXPONENTIAL, _DE_VAUCOULEURS, _GAUSSIAN):
        every = np.flatnonzero(profiles.kind == kind)
        for rows in np.array_split(every, -(-len(every) // _AT_A_TIME) or 1):
            shape = _tensor(profiles.shape[rows])[:, :, None, None]
            square = shape[:, 0] * kx**2 + 2 * shape[:, 1] * kx * ky + shape[:, 2] * ky**2
            north, east = modes.phase(profiles.east[rows], profiles.north[rows])
            light = _transform(kind, square) * (north * east)
            host = torch.from_numpy(profiles.host[rows])
            for i in range(spectra.shape[1]):
                weight = _tensor(weights[rows, i])[:, None, None]
                spectra[:, i].index_add_(0, host, light * weight)


def _transform(kind: int, square: Tensor) -> Tensor:
    """Fourier transform of a unit profile, from (2 pi k radius)^2."""
    if kind == _GAUSSIAN:
        return torch.exp(-square / 2)
    if kind == _EXPONENTIAL:
        return (1 + square) ** -1.5
    total = torch.zeros_like(square)
    for share, scale in zip(*_de_vaucouleurs(), strict=True):
        total += share * (1 + scale**2 * square).rsqrt_().pow_(3)
    return total


@lru_cache(maxsize=1)
def _de_vaucouleurs() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Shares of light and scale lengths [half-light radius] of the exponentials that sum to it."""
    radius = np.geomspace(1e-4, 40, 400)
    profile = np.exp(-_SERSIC_B4 * radius**0.25)
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


# Arms


def _add_arms(
    spectra: Tensor, modes: Modes, truth: dict[str, np.ndarray], knots: np.ndarray
) -> None:
    rows = np.flatnonzero(truth["arm_strength"] > 0)
    armed = {name: values[rows] for name, values in truth.items()}
    knots_x, knots_y = _knot_factors(modes, knots[rows])
    fine = Modes(max(modes.half, _ARM_MODES))
    arms = fine.keep(fine.spectrum(_arm_images(fine, armed)), modes)
    light = {"arm": arms, "knot": knots_y @ knots_x}
    shares, flux = _shares(armed), _flux(armed["r_mag"])
    for name, spectrum in light.items():
        weights = _tensor((flux * shares[name])[:, None] * _populations(_colour(armed, name)))
        for i in range(spectra.shape[1]):
            spectra[rows, i] += spectrum * weights[:, i, None, None]


def _arm_images(modes: Modes, truth: dict[str, np.ndarray]) -> Tensor:
    """(m, side, side) logarithmic spirals over an exponential disc, of unit flux."""
    value = {name: _tensor(values)[:, None, None] for name, values in truth.items()}
    pa = torch.deg2rad(value["position_angle_deg"])
    east, north = modes.offsets[None, None, :], modes.offsets[None, :, None]
    scale = value["disc_half_light_arcsec"] / _DISC_HALF_LIGHT
    along = (east * torch.sin(pa) + north * torch.cos(pa)) / scale
    across = (east * torch.cos(pa) - north * torch.sin(pa)) / (scale * value["axis_ratio"])
    radius = torch.hypot(along, across).clamp_min_(1e-3)
    turn = value["arm_sense"] * torch.atan2(across, along)
    winding = torch.log(radius) / torch.tan(torch.deg2rad(value["pitch_deg"]))
    crest = value["n_arms"] * (turn - winding) + value["arm_phase"]
    lopsided = 1 + 0.35 * torch.cos(turn + 3 * value["arm_phase"])
    hole = torch.where(
        value["bar_strength"] > 0, value["bar_half_length_arcsec"] / scale * 0.8, 0.5
    )
    inner = 1 / (1 + (hole / radius) ** 3)
    ridge = torch.exp(value["arm_sharpness"] * (torch.cos(crest) - 1))
    image = torch.exp(-radius) * inner * ridge * lopsided
    return image / (image.sum((1, 2), keepdim=True) * modes.pixel_arcsec**2)


def _knot_factors(modes: Modes, knots: np.ndarray) -> tuple[Tensor, Tensor]:
    """(m, knots, half + 1) and (m, side, knots) factors of round Gaussians."""
    m, k = knots.shape[:2]
    east, north, size, share = knots.reshape(m * k, 4).T
    phase_north, phase_east = modes.phase(east, north)
    spread = -2 * (math.pi * _tensor(size)[:, None]) ** 2
    x = phase_east[:, 0] * torch.exp(spread * modes.east**2) * _tensor(share)[:, None]
    y = phase_north[..., 0] * torch.exp(spread * modes.north**2)
    return x.reshape(m, k, len(modes.east)), y.reshape(m, k, len(modes.north)).transpose(1, 2)


def _empty(n: int, modes: Modes) -> Tensor:
    return torch.zeros(n, len(_POPULATION_MAG), modes.side, modes.half + 1, dtype=torch.complex64)


def _arrays(table: pa.Table) -> dict[str, np.ndarray]:
    numbers = (name for name in table.column_names if not pa.types.is_string(table[name].type))
    return {name: table[name].to_numpy() for name in numbers}


def _flux(r_mag: np.ndarray) -> np.ndarray:
    return np.asarray(10 ** (0.4 * (NANOMAGGY_ZEROPOINT - r_mag)))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)
