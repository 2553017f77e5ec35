"""The lights of simulated patches: smooth profiles and small round Gaussians.

Both carry their flux by stellar population, so one rendering serves every band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np

from catalogs.simulation.colours import component_mix, population_shares, star_shares
from catalogs.simulation.geometry import tail_beads, to_sky
from catalogs.simulation.half_light import DISC_HALF_LIGHT
from catalogs.simulation.patches import nanomaggies

__all__ = [
    "DE_VAUCOULEURS", "EXPONENTIAL", "GAUSSIAN", "RING", "Beads", "Profiles", "galaxy_beads",
    "galaxy_profiles", "join", "neighbour_beads", "neighbour_profiles",
]  # fmt: skip

EXPONENTIAL, DE_VAUCOULEURS, GAUSSIAN, RING = range(4)

_SMALL_ARCSEC = 0.5  # half-light radius below which a neighbour is drawn round
# Gaussians that sum to an exponential disc of unit half-light radius, within 0.015 of its transform
_SMALL_SHARES, _SMALL_SIZES = np.array([0.3557, 0.6443]), np.array([0.4813, 1.1876])


@dataclass(frozen=True)
class Profiles:
    """Smooth lights: kind, patch, place, flux by population, and covariance of the radii."""

    kind: np.ndarray  # (m,) one of EXPONENTIAL, DE_VAUCOULEURS, GAUSSIAN, RING
    host: np.ndarray  # (m,) row of the patch
    east: np.ndarray  # (m,) [arcsec]
    north: np.ndarray
    flux: np.ndarray  # (m, populations) in r [nanomaggy]
    shape: np.ndarray  # (m, 3): east-east, east-north, north-north [arcsec^2]
    width: np.ndarray  # (m,) of a ring, standard deviation over radius


@dataclass(frozen=True)
class Beads:
    """Round Gaussians: patch, place, standard deviation, and flux by population."""

    host: np.ndarray  # (m,) row of the patch
    east: np.ndarray  # (m,) [arcsec]
    north: np.ndarray
    size: np.ndarray  # (m,) standard deviation [arcsec], 0 for a star
    flux: np.ndarray  # (m, populations) in r [nanomaggy]


_Lights = TypeVar("_Lights", Profiles, Beads)


def galaxy_profiles(truth: dict[str, np.ndarray]) -> Profiles:
    """Return the smooth components of galaxies."""
    angle, q = truth["position_angle_deg"], truth["axis_ratio"]
    elliptical = truth["bulge_fraction"] == 1
    bulge_q = np.where(elliptical, q, 1 - 0.5 * (1 - q))  # a bulge is rounder than its disc
    disc = truth["disc_half_light_arcsec"] / DISC_HALF_LIGHT
    companion = truth["companion_half_light_arcsec"]
    other_q, other_angle = truth["companion_axis_ratio"], truth["companion_position_angle_deg"]
    zero = np.zeros_like(q)
    centre = (zero, zero)
    apart = (truth["companion_east_arcsec"], truth["companion_north_arcsec"])
    lane = to_sky(zero, truth["dust_offset_arcsec"], angle)
    ring = to_sky(truth["ring_offset_arcsec"], zero, angle)
    parts = {
        "bulge": (
            DE_VAUCOULEURS, centre, _ellipse(truth["bulge_half_light_arcsec"], bulge_q, angle),
        ),
        "bar": (GAUSSIAN, centre, _bar_shape(truth)),
        "disc": (EXPONENTIAL, centre, _ellipse(disc, q, angle)),
        "dust": (EXPONENTIAL, lane, _ellipse(disc, q * truth["dust_thickness"], angle)),
        "ring": (RING, ring, _ellipse(truth["ring_radius_arcsec"], q, angle)),
        "companion_bulge": (DE_VAUCOULEURS, apart, _ellipse(companion, other_q, other_angle)),
        "companion_disc": (
            EXPONENTIAL, apart, _ellipse(companion / DISC_HALF_LIGHT, other_q, other_angle),
        ),
    }  # fmt: skip
    mix, total = component_mix(truth), nanomaggies(truth["r_mag"])[:, None]
    rows = np.arange(len(q))
    every = [
        Profiles(np.full(len(q), kind), rows, *place, total * mix[name], shape, truth["ring_width"])
        for name, (kind, place, shape) in parts.items()
    ]
    whole = join(every)
    return _some(whole, (whole.flux != 0).any(1))


def galaxy_beads(truth: dict[str, np.ndarray], knots: np.ndarray) -> Beads:
    """Return the knots and the tidal tails of galaxies."""
    mix, total = component_mix(truth), nanomaggies(truth["r_mag"])[:, None]
    groups = []
    for name, beads in (("knot", knots), ("tail", tail_beads(truth))):
        rows = np.flatnonzero(mix[name].sum(1) > 0)
        east, north, size, share = beads[rows].reshape(-1, 4).T
        flux = np.repeat((total * mix[name])[rows], beads.shape[1], axis=0) * share[:, None]
        groups.append(Beads(np.repeat(rows, beads.shape[1]), east, north, size, flux))
    return join(groups)


def neighbour_profiles(near: dict[str, np.ndarray]) -> Profiles:
    """Return the resolved neighbours, of the columns of `Galaxies.neighbours`."""
    size = near["half_light_arcsec"] / np.where(near["is_bulge"], 1.0, DISC_HALF_LIGHT)
    every = Profiles(
        kind=np.where(near["is_bulge"], DE_VAUCOULEURS, EXPONENTIAL),
        host=near["host"],
        east=near["east_arcsec"],
        north=near["north_arcsec"],
        flux=_neighbour_flux(near),
        shape=_ellipse(size, near["axis_ratio"], near["position_angle_deg"]),
        width=np.zeros(len(size)),
    )
    return _some(every, near["half_light_arcsec"] >= _SMALL_ARCSEC)


def neighbour_beads(near: dict[str, np.ndarray]) -> Beads:
    """Return the stars and the small neighbours, which are drawn round."""
    radius = near["half_light_arcsec"] * np.sqrt(near["axis_ratio"])
    star, flux = radius == 0, _neighbour_flux(near)
    every = Beads(near["host"], near["east_arcsec"], near["north_arcsec"], radius, flux)
    small = (near["half_light_arcsec"] < _SMALL_ARCSEC) & ~star
    groups = [
        _some(replace(every, size=radius * size, flux=flux * share), small)
        for share, size in zip(_SMALL_SHARES, _SMALL_SIZES, strict=True)
    ]
    return join([_some(every, star), *groups])


def join(parts: Sequence[_Lights]) -> _Lights:
    """Join the rows of several lights."""
    names = [field.name for field in fields(parts[0])]
    return type(parts[0])(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )


def _neighbour_flux(near: dict[str, np.ndarray]) -> np.ndarray:
    star, colour = near["half_light_arcsec"][:, None] == 0, near["g_minus_r"]
    shares = np.where(star, star_shares(colour), population_shares(colour))
    return nanomaggies(near["r_mag"])[:, None] * shares


def _some(lights: _Lights, rows: np.ndarray) -> _Lights:
    return type(lights)(**{name: values[rows] for name, values in vars(lights).items()})


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
