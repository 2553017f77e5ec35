"""Half-light radii of galaxies of many components, from points that sample their light."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaincinv

from catalogs.simulation.colours import component_mix
from catalogs.simulation.geometry import from_sky, tail_beads, to_sky

DISC_HALF_LIGHT = 1.67834699  # half-light radius of an exponential disc over its scale length
SERSIC_B4 = 7.66924944  # coefficient of the de Vaucouleurs profile

_POINTS = 128
_LEVEL = (np.arange(_POINTS) + 0.5) / _POINTS
_DISC = gammaincinv(2, _LEVEL) / DISC_HALF_LIGHT  # radii that hold shares of the light
_BULGE = (gammaincinv(8, _LEVEL) / SERSIC_B4) ** 4
_GAUSSIAN = np.sqrt(-2 * np.log1p(-_LEVEL))
_ANGLE = np.arange(_POINTS) * math.pi * (3 - math.sqrt(5))  # the golden angle: even around
_COS, _SIN = np.cos(_ANGLE), np.sin(_ANGLE)
_NORMAL = _GAUSSIAN * _COS
_BEAD = np.zeros((6, 4))  # east and north of the points of a round Gaussian
_BEAD[:, 0] = [0.6, -0.6, 0.3, -0.3, 1.65, -1.65]
_BEAD[:, 1] = [0.1, -0.1, 1.65, -1.65, -0.3, 0.3]


def half_light_radius(truth: dict[str, np.ndarray], knots: np.ndarray) -> np.ndarray:
    """Return (n,) semi-major axes of the ellipses that hold half of the r light [arcsec].

    The ellipses have the galaxies' ``axis_ratio``, ``position_angle_deg`` and centre. The light is
    that of all components. The radii are good to 2 percent.
    """
    light = {name: mix.sum(1) for name, mix in component_mix(truth).items()}
    points = _points({name: values[:, None] for name, values in truth.items()})
    radii = [np.hypot(*points[name]) for name in points]
    weights = [
        np.broadcast_to(light[name][:, None] / _POINTS, (len(knots), _POINTS)) for name in points
    ]
    for name, beads in (("knot", knots), ("tail", tail_beads(truth))):
        some = beads[:, :, None, :] + _BEAD * beads[:, :, None, 2:3]  # points of each Gaussian
        east, north = some[..., :2].reshape(len(beads), -1, 2).transpose(2, 0, 1)
        along, across = from_sky(east, north, truth["position_angle_deg"][:, None])
        radii.append(np.hypot(along, across / truth["axis_ratio"][:, None]))
        share = np.repeat(beads[..., 3], len(_BEAD), axis=1) / len(_BEAD)
        weights.append(light[name][:, None] * share)
    radius, weight = np.concatenate(radii, axis=1), np.concatenate(weights, axis=1)
    order = np.argsort(radius, axis=1)
    held = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
    middle = (held < 0.5).sum(1).clip(max=radius.shape[1] - 1)
    return np.asarray(np.take_along_axis(radius, order, axis=1)[np.arange(len(radius)), middle])


def _points(column: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Points of the components in the plane of the disc, along and across its major axis."""
    q, disc = column["axis_ratio"], column["disc_half_light_arcsec"]
    bulge_q = np.where(column["bulge_fraction"] == 1, q, 1 - 0.5 * (1 - q))
    bulge = column["bulge_half_light_arcsec"] * _BULGE
    bar = column["bar_half_length_arcsec"] / 2 * _GAUSSIAN
    ring = column["ring_radius_arcsec"] * (1 + column["ring_width"] * _NORMAL)
    return {
        "bulge": (bulge * _COS, bulge * _SIN * bulge_q / q),
        "bar": (bar * _COS, bar * _SIN * column["bar_axis_ratio"]),
        "disc": (disc * _DISC * _COS, disc * _DISC * _SIN),
        "dust": (disc * _DISC * _COS, disc * _DISC * _SIN * column["dust_thickness"]),
        "arm": (_arm_radii(column) * _COS, _arm_radii(column) * _SIN),
        "ring": (ring * _COS + column["ring_offset_arcsec"], ring * _SIN),
        "companion_bulge": _companion(column, _BULGE),
        "companion_disc": _companion(column, _DISC),
    }


def _arm_radii(column: dict[str, np.ndarray]) -> np.ndarray:
    """Radii that hold shares of an exponential disc with a hole, as the arms have."""
    scale = column["disc_half_light_arcsec"] / DISC_HALF_LIGHT
    radius = np.linspace(0.02, 12, 300)
    density = radius * np.exp(-radius) / (1 + (arm_hole(column) / radius) ** 3)
    held = np.cumsum(density, axis=1)
    number = [np.searchsorted(row / row[-1], _LEVEL) for row in held]
    return np.asarray(scale * radius[np.array(number)])


def arm_hole(column: dict[str, np.ndarray]) -> np.ndarray:
    """Radius inside which arms fade [scale length]: the end of the bar, or half a scale length."""
    scale = column["disc_half_light_arcsec"] / DISC_HALF_LIGHT
    barred = column["bar_strength"] > 0
    return np.asarray(np.where(barred, 0.8 * column["bar_half_length_arcsec"] / scale, 0.5))


def _companion(column: dict[str, np.ndarray], profile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    along = column["companion_half_light_arcsec"] * profile * _COS
    across = column["companion_half_light_arcsec"] * profile * _SIN * column["companion_axis_ratio"]
    east, north = to_sky(along, across, column["companion_position_angle_deg"])
    along, across = from_sky(
        east + column["companion_east_arcsec"],
        north + column["companion_north_arcsec"],
        column["position_angle_deg"],
    )
    return along, across / column["axis_ratio"]
