"""Parametric galaxies: bulge, disc, arms, bar, star-forming knots, and their surroundings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import gammainc

from catalogs.simulation.colours import integrated_colour, population_fluxes
from catalogs.simulation.distributions import (
    MAGNITUDES,
    draw_half_light,
    draw_magnitudes,
    draw_neighbours,
    draw_positions,
)
from catalogs.simulation.patches import FIELD_ARCSEC, Frequencies, Sky
from catalogs.simulation.rendering import DISC_HALF_LIGHT, SERSIC_B4, render_galaxies

__all__ = ["LABELS", "Galaxies", "draw_galaxies"]

LABELS = ("elliptical", "disc", "spiral", "barred", "edge-on")  # morphological classes

_LABEL_SHARES = (0.27, 0.17, 0.30, 0.16, 0.10)
_KNOTS = 24

# Uniform ranges by class, in the order of LABELS, and for every class.
_RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    "bulge_fraction": ((1.0, 1.0), (0.0, 0.6), (0.0, 0.4), (0.0, 0.35), (0.0, 0.5)),
    "axis_ratio": ((0.55, 1.0), (0.3, 1.0), (0.4, 1.0), (0.45, 1.0), (0.1, 0.22)),
    "arm_strength": ((0.0, 0.0), (0.0, 0.0), (0.25, 0.7), (0.05, 0.55), (0.0, 0.0)),
    "bar_strength": ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.12, 0.3), (0.0, 0.0)),
    "bulge_g_minus_r": ((0.75, 1.1), (0.7, 1.05), (0.7, 1.0), (0.7, 1.0), (0.7, 1.05)),
    "disc_g_minus_r": ((0.75, 1.1), (0.5, 0.9), (0.4, 0.75), (0.45, 0.8), (0.45, 0.85)),
}
_COMMON_RANGES: dict[str, tuple[float, float]] = {
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


@dataclass(frozen=True)
class Galaxies:
    """Parameters of galaxies.

    `truth` has a row per galaxy: ``ra``, ``dec`` [ICRS deg], ``label``, ``r_mag`` (without
    neighbours), ``half_light_arcsec`` (along the major axis, without bar and arms),
    ``bulge_fraction``, ``axis_ratio``, ``position_angle_deg`` (east of north), ``n_arms``,
    ``arm_strength`` and ``bar_strength`` (shares of the disc's light), ``pitch_deg``,
    ``g_minus_r``, ``n_neighbours``, and the other parameters that were drawn.

    `neighbours` are the galaxies and stars in the same patches: ``host`` (row of `truth`),
    ``east_arcsec``, ``north_arcsec``, ``r_mag``, ``half_light_arcsec`` (0 for a star),
    ``axis_ratio``, ``position_angle_deg``, ``is_bulge``, ``g_minus_r``.
    """

    truth: pa.Table
    neighbours: pa.Table
    knots: np.ndarray  # (n, knots, 4): east, north and size [arcsec], share of the knots' light

    def render(self, frequencies: Frequencies) -> Sky:
        """Render the patches, one component per stellar population."""
        spectra = render_galaxies(self.truth, self.neighbours, self.knots, frequencies)
        return Sky(spectra, frequencies, population_fluxes)


def draw_galaxies(
    n: int,
    rng: np.random.Generator,
    magnitudes: tuple[float, float] = MAGNITUDES,
    field_arcsec: float = FIELD_ARCSEC,
) -> Galaxies:
    """Draw n galaxies and their neighbours in patches of `field_arcsec`.

    Counts in r [AB mag] rise towards the faint end. Half-light radii follow magnitude with
    log-normal scatter. Each patch has a Poisson number of fainter galaxies and of stars; some of
    these galaxies overlap their hosts. `render` needs frequencies of the same field.
    """
    label = rng.choice(len(LABELS), n, p=_LABEL_SHARES)
    truth: dict[str, np.ndarray] = {"r_mag": draw_magnitudes(n, rng, magnitudes)}
    truth["half_light_arcsec"] = draw_half_light(truth["r_mag"], rng, field_arcsec)
    for name, ranges in _RANGES.items():
        low, high = np.array(ranges)[label].T
        truth[name] = rng.uniform(low, high)
    for name, (low, high) in _COMMON_RANGES.items():
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
    truth["ra"], truth["dec"] = draw_positions(n, rng)
    truth["g_minus_r"] = integrated_colour(truth)
    neighbours = draw_neighbours(truth, rng, field_arcsec)
    truth["n_neighbours"] = np.bincount(neighbours["host"], minlength=n)
    return Galaxies(
        truth=pa.table({"label": np.array(LABELS)[label], **truth}),
        neighbours=pa.table(neighbours),
        knots=_draw_knots(truth, rng),
    )


def _sizes(truth: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Radii of bulge, disc and bar that give the whole its half-light radius."""
    bulge = truth["bulge_fraction"]
    ratio = np.where(bulge == 1, 1.0, truth["bulge_to_disc_size"])
    low, high = np.zeros_like(bulge), np.full_like(bulge, 2.0)  # in half-light radii of the disc
    for _ in range(40):
        middle = (low + high) / 2
        light = bulge * gammainc(8, SERSIC_B4 * (middle / ratio) ** 0.25)
        light += (1 - bulge) * gammainc(2, middle * DISC_HALF_LIGHT)
        low, high = np.where(light < 0.5, middle, low), np.where(light < 0.5, high, middle)
    disc = truth["half_light_arcsec"] / middle
    return {
        "disc_half_light_arcsec": disc,
        "bulge_half_light_arcsec": disc * ratio,
        "bar_half_length_arcsec": disc * truth["bar_to_disc_size"],
    }


def _draw_knots(truth: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Star-forming knots strewn along the arms."""
    column = {name: values[:, None] for name, values in truth.items()}
    n, scale = len(truth["r_mag"]), column["disc_half_light_arcsec"] / DISC_HALF_LIGHT
    radius = rng.gamma(3.0, 0.9, (n, _KNOTS)) + 0.4  # in scale lengths
    arms = np.maximum(column["n_arms"], 1)
    winding = np.log(radius) / np.tan(np.radians(column["pitch_deg"]))
    azimuth = (
        winding + (2 * np.pi * rng.integers(12, size=radius.shape) - column["arm_phase"]) / arms
    )
    angle = column["arm_sense"] * azimuth + rng.normal(0, 0.12, radius.shape)
    along, across = radius * np.cos(angle), radius * np.sin(angle) * column["axis_ratio"]
    pa = np.radians(column["position_angle_deg"])
    east = scale * (along * np.sin(pa) + across * np.cos(pa))
    north = scale * (along * np.cos(pa) - across * np.sin(pa))
    size = scale * rng.uniform(0.06, 0.18, radius.shape)
    share = rng.lognormal(0, 1.0, radius.shape)
    return np.stack([east, north, size, share / share.sum(1, keepdims=True)], axis=-1)
