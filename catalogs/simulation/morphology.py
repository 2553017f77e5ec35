"""Random shapes and colours of simulated galaxies, by morphological class."""

from __future__ import annotations

import math

import numpy as np

from catalogs.simulation.distributions import redshift_colour
from catalogs.simulation.geometry import to_sky

LABELS = (
    "elliptical", "disc", "spiral", "barred", "edge-on", "ring", "irregular", "merger",
    "low-surface-brightness",
)  # fmt: skip
"""Morphological classes."""

LABEL_SHARES = (0.20, 0.12, 0.24, 0.13, 0.09, 0.07, 0.05, 0.05, 0.05)

_NONE = (0.0, 0.0)
# Uniform ranges by class, in the order of LABELS. Strengths are shares of the disc's light.
_RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    "bulge_fraction": (
        (1.0, 1.0), (0.0, 0.6), (0.0, 0.4), (0.0, 0.35), (0.0, 0.5), (0.05, 0.5), _NONE,
        (0.0, 0.6), (0.0, 0.15),
    ),
    "axis_ratio": (
        (0.55, 1.0), (0.3, 1.0), (0.4, 1.0), (0.45, 1.0), (0.09, 0.22), (0.4, 1.0), (0.4, 1.0),
        (0.35, 1.0), (0.3, 1.0),
    ),
    "arm_strength": (
        _NONE, _NONE, (0.25, 0.7), (0.05, 0.5), _NONE, (-0.3, 0.3), _NONE, (-0.3, 0.4),
        (-0.3, 0.4),
    ),
    "bar_strength": (
        _NONE, (-0.12, 0.12), (-0.15, 0.12), (0.08, 0.35), _NONE, (-0.3, 0.3), (-0.25, 0.15),
        _NONE, (-0.25, 0.15),
    ),
    "ring_strength": (
        _NONE, _NONE, (-0.5, 0.1), (-0.2, 0.12), _NONE, (0.2, 0.6), _NONE, _NONE, _NONE,
    ),
    "clumpiness": (_NONE,) * 6 + ((0.25, 0.75), (-0.3, 0.25), _NONE),
    "dust_strength": (_NONE,) * 4 + ((-0.25, 0.65),) + (_NONE,) * 4,
    "bulge_g_minus_r": (
        (0.75, 1.1), (0.7, 1.05), (0.7, 1.0), (0.7, 1.0), (0.7, 1.05), (0.7, 1.0), (0.5, 0.8),
        (0.65, 1.05), (0.6, 0.9),
    ),
    "disc_g_minus_r": (
        (0.75, 1.1), (0.5, 0.9), (0.4, 0.75), (0.45, 0.8), (0.45, 0.85), (0.45, 0.85),
        (0.15, 0.5), (0.4, 0.9), (0.3, 0.65),
    ),
}  # fmt: skip
"""A negative value drawn means none: ``(-0.3, 0.1)`` gives a quarter of the class up to 0.1."""

_COMMON_RANGES: dict[str, tuple[float, float]] = {
    "position_angle_deg": (0.0, 180.0),
    "bulge_to_disc_size": (0.15, 0.5),  # half-light radii
    "pitch_deg": (9.0, 30.0),
    "arm_sharpness": (1.2, 4.0),
    "arm_phase": (0.0, 2 * math.pi),
    "bar_to_disc_size": (0.5, 1.2),  # half-length over half-light radius
    "bar_axis_ratio": (0.15, 0.35),
    "bar_angle_deg": (0.0, 180.0),  # in the plane of the disc, from its major axis
    "knot_share": (0.0, 0.3),  # of the arms and of the ring
    "ring_width": (0.06, 0.18),  # standard deviation over radius
    "dust_thickness": (0.25, 0.5),  # axis ratio over that of the disc
}
_OUTER_RINGS, _OFF_CENTRE_RINGS = 0.5, 0.25  # shares of the rings
_TAILED = 0.75  # share of the mergers with a tidal tail


def draw_shapes(
    label: np.ndarray, r_mag: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw the parameters of galaxies of (n,) classes, numbers in LABELS; see `Galaxies.truth`.

    Lengths are in units of the half-light radius of the disc.
    """
    n, shape = len(label), {}
    for name, ranges in _RANGES.items():
        low, high = np.array(ranges)[label].T
        shape[name] = rng.uniform(low, high).clip(0)
    for name, (low, high) in _COMMON_RANGES.items():
        shape[name] = rng.uniform(low, high, n)
    pure_disc = (label != LABELS.index("elliptical")) & (rng.random(n) < 0.2)
    shape["bulge_fraction"][pure_disc] = 0.0
    shape["n_arms"] = np.where(
        shape["arm_strength"] > 0, rng.choice([2, 3, 4], n, p=[0.65, 0.2, 0.15]), 0
    )
    shape["arm_sense"] = rng.choice([-1, 1], n)
    shape["disc_half_light_arcsec"] = np.ones(n)
    shape["bulge_half_light_arcsec"] = np.where(
        shape["bulge_fraction"] == 1, 1.0, shape["bulge_to_disc_size"]
    )
    shape["bar_half_length_arcsec"] = shape["bar_to_disc_size"]
    shape["dust_offset_arcsec"] = rng.uniform(-0.1, 0.1, n) * shape["axis_ratio"]
    shape |= _ring(label, shape, rng)
    shape |= _companion(label, shape, rng)
    return shape | _colours(shape, r_mag, rng)


def _ring(
    label: np.ndarray, shape: dict[str, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw rings: at the end of the bar, outside the disc, or around a centre of their own."""
    n = len(label)
    own = label == LABELS.index("ring")
    outer = own & (rng.random(n) < _OUTER_RINGS)
    radius = np.where(outer, rng.uniform(1.5, 2.4, n), rng.uniform(0.6, 1.4, n))
    barred = ~outer & (shape["bar_strength"] > 0)
    radius = np.where(barred, shape["bar_half_length_arcsec"], radius)
    ringed = shape["ring_strength"] > 0
    away = np.where(
        own & ~barred & (rng.random(n) < _OFF_CENTRE_RINGS), rng.uniform(-0.35, 0.35, n), 0.0
    )
    return {
        "ring_radius_arcsec": np.where(ringed, radius, 0.0),
        "ring_offset_arcsec": np.where(ringed, radius * away, 0.0),  # along the major axis
    }


def _companion(
    label: np.ndarray, shape: dict[str, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw the second galaxy of a merger, and its tidal tails."""
    n = len(label)
    merger = label == LABELS.index("merger")
    ratio = np.where(merger, rng.uniform(0.2, 1.0, n), 0.0)
    size = np.where(merger, np.sqrt(ratio) * rng.lognormal(0, 0.2, n), 0.0)
    apart, angle = rng.uniform(0.5, 3.0, n), rng.uniform(0, 2 * np.pi, n)
    distance = np.where(merger, apart, 0.0)
    east, north = to_sky(
        distance * np.cos(angle), distance * np.sin(angle), shape["position_angle_deg"]
    )
    elliptical = rng.random(n) < 0.25
    tail = np.where(merger & (rng.random(n) < _TAILED), rng.uniform(0.03, 0.25, n), 0.0)
    return {
        "merger_mass_ratio": ratio,
        "companion_east_arcsec": east,
        "companion_north_arcsec": north,
        "companion_half_light_arcsec": size,
        "companion_axis_ratio": rng.uniform(0.35, 1.0, n),
        "companion_position_angle_deg": rng.uniform(0, 180, n),
        "companion_bulge_fraction": np.where(elliptical, 1.0, rng.uniform(0.0, 0.5, n)),
        "tail_strength": tail,
        "tail_length_arcsec": np.where(tail > 0, rng.uniform(2.5, 6.0, n), 0.0),
        "tail_turn_deg": rng.choice([-1, 1], n) * rng.uniform(30, 200, n),
        "bridge_share": np.where(rng.random(n) < 0.5, rng.uniform(0.1, 0.6, n), 0.0),  # of the tail
    }


def _colours(
    shape: dict[str, np.ndarray], r_mag: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    n = len(r_mag)
    redder = redshift_colour(r_mag)
    bulge, disc = (shape[f"{name}_g_minus_r"] + redder for name in ("bulge", "disc"))
    like = rng.normal(0, 0.12, n)
    return {
        "bulge_g_minus_r": bulge,
        "disc_g_minus_r": disc,
        "bar_g_minus_r": (bulge + disc) / 2,
        "arm_g_minus_r": disc - rng.uniform(0.1, 0.35, n),
        "ring_g_minus_r": disc - rng.uniform(0.0, 0.35, n),
        "knot_g_minus_r": rng.uniform(0.0, 0.25, n),
        "tail_g_minus_r": disc - rng.uniform(0.0, 0.15, n),
        "companion_bulge_g_minus_r": np.maximum(bulge, disc) + like.clip(-0.1, 0.1),
        "companion_disc_g_minus_r": disc + like,
    }
