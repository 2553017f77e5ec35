"""Random magnitudes, sizes, positions and neighbours of simulated galaxies."""

from __future__ import annotations

import numpy as np

from catalogs.simulation.patches import STAMP_ARCSEC

__all__ = [
    "MAGNITUDES", "draw_companions", "draw_half_light", "draw_magnitudes", "draw_neighbours",
    "draw_positions",
]  # fmt: skip

MAGNITUDES = (17.0, 21.5)  # range of r, the brightest and the faintest [AB mag]

REGION_RA_DEG, REGION_DEC_DEG = (130.0, 230.0), (-5.0, 30.0)
"""Part of the sky that the galaxies fill evenly [ICRS deg]."""

_COUNTS_SLOPE = 0.12  # dex / mag; the sky has 0.4 or more, which would leave few bright galaxies
_SIZE_SCATTER = 0.15  # dex
_NEIGHBOURS, _STARS = 1.2, 0.25  # mean number per patch


def draw_magnitudes(
    n: int, rng: np.random.Generator, magnitudes: tuple[float, float]
) -> np.ndarray:
    """Draw r between two magnitudes, with counts that rise towards the faint end."""
    low, high = 10 ** (_COUNTS_SLOPE * np.array(magnitudes))
    return np.asarray(np.log10(rng.uniform(low, high, n)) / _COUNTS_SLOPE)


def draw_half_light(r_mag: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw half-light radii [arcsec] for r magnitudes: 3.5 arcsec at 17, 0.8 at 21.5."""
    log_size = 0.25 - 0.145 * (r_mag - 19) + rng.normal(0, _SIZE_SCATTER, len(r_mag))
    return np.asarray(np.clip(10**log_size, 0.15, 7.0))


def draw_positions(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw right ascensions and declinations [ICRS deg]."""
    low, high = np.sin(np.radians(REGION_DEC_DEG))
    return rng.uniform(*REGION_RA_DEG, n), np.degrees(np.arcsin(rng.uniform(low, high, n)))


def draw_companions(
    r_mag: np.ndarray, half_light_arcsec: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw the fainter galaxies that share the patches of n galaxies; a third overlap their hosts.

    The (m,) columns are ``host`` (row), ``east_arcsec``, ``north_arcsec``, ``r_mag``.
    """
    m = rng.poisson(_NEIGHBOURS * len(r_mag))
    host = rng.integers(len(r_mag), size=m)
    angle = rng.uniform(0, 2 * np.pi, m)
    near = half_light_arcsec[host] * rng.uniform(0.8, 3.5, m) * [np.sin(angle), np.cos(angle)]
    east, north = np.where(rng.random(m) < 1 / 3, near, _in_patch(m, rng))
    fainter = r_mag[host] + 0.3 + 4 * np.sqrt(rng.random(m))
    r_mag = np.minimum(fainter, 25.0)
    return {"host": host, "east_arcsec": east, "north_arcsec": north, "r_mag": r_mag}


def draw_neighbours(
    r_mag: np.ndarray, half_light_arcsec: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw the fainter galaxies and the stars in the patches, as of `Galaxies.neighbours`."""
    galaxies = draw_companions(r_mag, half_light_arcsec, rng)
    n, m = len(r_mag), rng.poisson(_STARS * len(r_mag))
    east, north = _in_patch(m, rng)
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
        "half_light_arcsec": np.where(is_star, 0.0, draw_half_light(both["r_mag"], rng)),
        "axis_ratio": rng.uniform(0.25, 1, total),
        "position_angle_deg": rng.uniform(0, 180, total),
        "is_bulge": ~is_star & (rng.random(total) < 0.35),
        "g_minus_r": rng.uniform(0.2, 1.4, total),
    }


def _in_patch(m: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-STAMP_ARCSEC / 2, STAMP_ARCSEC / 2, (2, m))
