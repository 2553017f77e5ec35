"""Parametric galaxies: bulge, disc, arms, bar, ring, clumps, mergers, and their surroundings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from catalogs.simulation.colours import integrated_colour, population_fluxes
from catalogs.simulation.distributions import (
    MAGNITUDES,
    draw_half_light,
    draw_magnitudes,
    draw_neighbours,
    draw_positions,
    largest_half_light,
)
from catalogs.simulation.geometry import to_sky
from catalogs.simulation.half_light import DISC_HALF_LIGHT, half_light_radius
from catalogs.simulation.morphology import LABEL_SHARES, LABELS, draw_shapes
from catalogs.simulation.patches import FIELD_ARCSEC, Frequencies, Sky
from catalogs.simulation.rendering import render_galaxies

__all__ = ["LABELS", "Galaxies", "draw_galaxies"]

_KNOTS = 24
_LENGTHS = (
    "disc_half_light_arcsec", "bulge_half_light_arcsec", "bar_half_length_arcsec",
    "dust_offset_arcsec", "ring_radius_arcsec", "ring_offset_arcsec", "companion_east_arcsec",
    "companion_north_arcsec", "companion_half_light_arcsec", "tail_length_arcsec",
)  # fmt: skip
_DIFFUSE = (2.0, 3.0)  # size of galaxies of low surface brightness over the usual one


@dataclass(frozen=True)
class Galaxies:
    """Parameters of galaxies.

    `truth` has a row per galaxy: ``ra``, ``dec`` [ICRS deg], ``label``, ``r_mag`` (without
    neighbours), ``half_light_arcsec`` (semi-major axis of the ellipse of ``axis_ratio`` that holds
    half of the light), ``bulge_fraction``, ``axis_ratio``, ``position_angle_deg`` (east of north),
    ``n_arms``, ``pitch_deg``, ``g_minus_r``, ``n_neighbours``. Shares of the disc's light:
    ``arm_strength``, ``bar_strength``, ``ring_strength``, ``clumpiness``. ``ring_radius`` is in
    half-light radii, 0 without a ring; ``dust_strength`` is the depth of a lane in an edge-on
    disc; ``merger_mass_ratio`` is the companion's light over that of the galaxy, 0 without one;
    ``tail_strength`` is the share of all light in tidal tails. The other columns are the remaining
    parameters that were drawn.

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
    log-normal scatter; galaxies of low surface brightness are two to three times larger. Each patch
    has a Poisson number of fainter galaxies and of stars; some of these galaxies overlap their
    hosts. `render` needs frequencies of the same field.
    """
    label = rng.choice(len(LABELS), n, p=LABEL_SHARES)
    r_mag = draw_magnitudes(n, rng, magnitudes)
    half_light = draw_half_light(r_mag, rng, field_arcsec)
    diffuse = label == LABELS.index("low-surface-brightness")
    half_light *= np.where(diffuse, rng.uniform(*_DIFFUSE, n), 1.0)
    half_light = half_light.clip(max=largest_half_light(field_arcsec))
    truth = {"r_mag": r_mag, "half_light_arcsec": half_light, **draw_shapes(label, r_mag, rng)}
    knots = _draw_knots(truth, rng)
    unit = half_light / half_light_radius(truth, knots)
    truth |= {name: truth[name] * unit for name in _LENGTHS}
    knots[..., :3] *= unit[:, None, None]
    truth["ring_radius"] = truth["ring_radius_arcsec"] / half_light
    truth["ra"], truth["dec"] = draw_positions(n, rng)
    truth["g_minus_r"] = integrated_colour(truth)
    neighbours = draw_neighbours(truth, rng, field_arcsec)
    truth["n_neighbours"] = np.bincount(neighbours["host"], minlength=n)
    return Galaxies(
        truth=pa.table({"label": np.array(LABELS)[label], **truth}),
        neighbours=pa.table(neighbours),
        knots=knots,
    )


def _draw_knots(truth: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Star-forming knots: strewn along the arms, else along the ring, else in clumps."""
    column = {name: values[:, None] for name, values in truth.items()}
    shape, scale = (len(truth["r_mag"]), _KNOTS), column["disc_half_light_arcsec"] / DISC_HALF_LIGHT
    radius = rng.gamma(3.0, 0.9, shape) + 0.4  # in scale lengths
    arms = np.maximum(column["n_arms"], 1)
    winding = np.log(radius) / np.tan(np.radians(column["pitch_deg"]))
    azimuth = winding + (2 * np.pi * rng.integers(12, size=shape) - column["arm_phase"]) / arms
    angle = column["arm_sense"] * azimuth + rng.normal(0, 0.12, shape)
    on_arms = np.stack([radius * np.cos(angle), radius * np.sin(angle)]) * scale

    angle = rng.uniform(0, 2 * np.pi, shape)
    ring = column["ring_radius_arcsec"] * (1 + column["ring_width"] * rng.normal(0, 1, shape))
    on_ring = np.stack([ring * np.cos(angle) + column["ring_offset_arcsec"], ring * np.sin(angle)])
    clumps = scale * (rng.normal(0, 0.5, (2, shape[0], 1)) + rng.normal(0, 1.0, (2, *shape)))

    along, across = np.where(
        column["arm_strength"] > 0, on_arms, np.where(column["ring_strength"] > 0, on_ring, clumps)
    )
    east, north = to_sky(along, across * column["axis_ratio"], column["position_angle_deg"])
    clumpy = column["clumpiness"] > 0
    size = scale * rng.uniform(0.06, 0.18, shape) * np.where(clumpy, rng.uniform(1, 3, shape), 1.0)
    share = rng.lognormal(0, np.where(clumpy, 1.4, 1.0), shape)
    return np.stack([east, north, size, share / share.sum(1, keepdims=True)], axis=-1)
