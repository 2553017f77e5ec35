"""Random magnitudes, sizes, positions and neighbours of simulated galaxies."""

from __future__ import annotations

import numpy as np

from catalogs.simulation.colours import STAR_COLOURS
from catalogs.simulation.patches import FIELD_ARCSEC

MAGNITUDES = (17.0, 21.5)  # range of r, the brightest and the faintest [AB mag]

REGION_RA_DEG, REGION_DEC_DEG = (130.0, 230.0), (-5.0, 30.0)
"""Part of the sky that the galaxies fill evenly [ICRS deg]."""

_COUNTS_SLOPE = 0.12  # dex / mag; the sky has 0.4 or more, which would leave few bright galaxies
_SIZE_SCATTER = 0.15  # dex
_COMPACT = 0.04  # share of compact galaxies
_OVERLAPPING = 0.4  # mean number of companions that overlap their hosts
_CLUSTERS = 0.05  # share of patches in clusters of galaxies

# Galaxies in the field: number per square degree to r 20, its slope [dex / mag], and the faintest.
# Near Yasuda et al. 2001, AJ 122, 1104.
_GALAXIES_TO_20, _GALAXY_SLOPE, _FAINTEST = 1000.0, 0.42, 22.5
# Stars at high galactic latitude: r and cumulative number per square degree. Schematic.
_STARS_R, _STARS = (12, 14, 16, 18, 20, 22, 23), (30, 130, 450, 1100, 2400, 4500, 5800)
_BRIGHTER_STARS = 3.0  # a galaxy beside a star that is brighter by more is in no catalogue [mag]


def draw_magnitudes(
    n: int, rng: np.random.Generator, magnitudes: tuple[float, float]
) -> np.ndarray:
    """Draw r between two magnitudes, with counts that rise towards the faint end."""
    low, high = 10 ** (_COUNTS_SLOPE * np.array(magnitudes))
    return np.asarray(np.log10(rng.uniform(low, high, n)) / _COUNTS_SLOPE)


def draw_half_light(
    r_mag: np.ndarray, rng: np.random.Generator, field_arcsec: float = FIELD_ARCSEC
) -> np.ndarray:
    """Draw half-light radii [arcsec] for r magnitudes: 26 arcsec at 11, 3.5 at 17, 0.8 at 21.5.

    One galaxy in 25 is compact, 2 to 3 times smaller.
    """
    log_size = 0.25 - 0.145 * (r_mag - 19) + rng.normal(0, _SIZE_SCATTER, len(r_mag))
    compact = rng.random(len(r_mag)) < _COMPACT
    log_size -= np.where(compact, np.log10(rng.uniform(2, 3, len(r_mag))), 0.0)
    return np.asarray(np.clip(10**log_size, 0.15, largest_half_light(field_arcsec)))


def redshift_colour(r_mag: np.ndarray) -> np.ndarray:
    """Return the change of g-r with r [mag]: faint galaxies are further away."""
    return np.asarray(0.06 * (r_mag - 19).clip(-2))


def largest_half_light(field_arcsec: float) -> float:
    """Return the largest half-light radius whose light fits a patch [arcsec], 10 for 42."""
    return field_arcsec / 4.2


def draw_positions(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw right ascensions and declinations [ICRS deg]."""
    low, high = np.sin(np.radians(REGION_DEC_DEG))
    return rng.uniform(*REGION_RA_DEG, n), np.degrees(np.arcsin(rng.uniform(low, high, n)))


def draw_companions(
    r_mag: np.ndarray,
    half_light_arcsec: np.ndarray,
    rng: np.random.Generator,
    field_arcsec: float = FIELD_ARCSEC,
) -> dict[str, np.ndarray]:
    """Draw the fainter galaxies that share the patches of n galaxies.

    Some overlap their hosts; the others fill the field with the counts of the sky. One patch in 20
    lies in a cluster and has 5 to 15 more, as bright as the host or fainter. The (m,) columns are
    ``host`` (row), ``east_arcsec``, ``north_arcsec``, ``r_mag``, ``in_cluster``.
    """
    n, area = len(r_mag), (field_arcsec / 3600) ** 2
    near = np.repeat(np.arange(n), rng.poisson(_OVERLAPPING, n))
    angle = rng.uniform(0, 2 * np.pi, len(near))
    apart = half_light_arcsec[near] * rng.uniform(0.8, 3.5, len(near))
    near_mag = np.minimum(r_mag[near] + 0.3 + 4 * np.sqrt(rng.random(len(near))), 25.0)

    faintest = np.maximum(r_mag + 1, _FAINTEST)
    numbers = [_GALAXIES_TO_20 * 10 ** (_GALAXY_SLOPE * (m - 20)) for m in (r_mag + 0.3, faintest)]
    apart_host = np.repeat(np.arange(n), rng.poisson(area * (numbers[1] - numbers[0]).clip(0)))
    number = rng.uniform(numbers[0][apart_host], numbers[1][apart_host])
    field_mag = 20 + np.log10(number / _GALAXIES_TO_20) / _GALAXY_SLOPE

    crowd = np.where(rng.random(n) < _CLUSTERS, rng.integers(5, 16, n), 0)
    cluster = np.repeat(np.arange(n), crowd)
    cluster_mag = r_mag[cluster] + 3 * np.sqrt(rng.random(len(cluster)))
    east, north = _in_field(len(apart_host) + len(cluster), rng, field_arcsec)
    return {
        "host": np.concatenate([near, apart_host, cluster]),
        "east_arcsec": np.append(apart * np.sin(angle), east),
        "north_arcsec": np.append(apart * np.cos(angle), north),
        "r_mag": np.concatenate([near_mag, field_mag, cluster_mag]),
        "in_cluster": np.repeat([False, True], [len(near) + len(apart_host), len(cluster)]),
    }


def draw_neighbours(
    host: dict[str, np.ndarray], rng: np.random.Generator, field_arcsec: float = FIELD_ARCSEC
) -> dict[str, np.ndarray]:
    """Draw the other galaxies and the stars in patches, as of `Galaxies.neighbours`.

    `host` has ``r_mag``, ``half_light_arcsec`` and ``g_minus_r`` of n galaxies.
    """
    galaxies = draw_companions(host["r_mag"], host["half_light_arcsec"], rng, field_arcsec)
    stars = _draw_stars(host["r_mag"], rng, field_arcsec)
    both = {name: np.concatenate([galaxies[name], stars[name]]) for name in stars}
    total, in_cluster = len(both["host"]), galaxies["in_cluster"]
    is_star = np.arange(total) >= len(in_cluster)
    is_bulge = ~is_star & (rng.random(total) < 0.35)
    typical = np.where(is_bulge, 0.85, 0.55) + redshift_colour(both["r_mag"])
    g_minus_r = np.clip(typical + rng.normal(0, 0.2, total), 0.1, 1.5)
    g_minus_r[is_star] = _draw_star_colours(both["r_mag"][is_star], rng)
    members = np.flatnonzero(in_cluster)
    likeness = rng.normal(0, 0.05, len(members))
    g_minus_r[members] = host["g_minus_r"][both["host"][members]] + likeness
    return {
        **both,
        "half_light_arcsec": np.where(
            is_star, 0.0, draw_half_light(both["r_mag"], rng, field_arcsec)
        ),
        "axis_ratio": rng.uniform(0.25, 1, total),
        "position_angle_deg": rng.uniform(0, 180, total),
        "is_bulge": is_bulge,
        "g_minus_r": g_minus_r,
    }


def _draw_stars(
    r_mag: np.ndarray, rng: np.random.Generator, field_arcsec: float
) -> dict[str, np.ndarray]:
    """Draw stars from r 12 to 23, none of them much brighter than its host."""
    m = rng.poisson(_STARS[-1] * (field_arcsec / 3600) ** 2 * len(r_mag))
    counts = rng.uniform(_STARS[0], _STARS[-1], m)
    east, north = _in_field(m, rng, field_arcsec)
    stars = {
        "host": rng.integers(len(r_mag), size=m),
        "east_arcsec": east,
        "north_arcsec": north,
        "r_mag": np.interp(np.log(counts), np.log(_STARS), _STARS_R),
    }
    kept = stars["r_mag"] > r_mag[stars["host"]] - _BRIGHTER_STARS
    return {name: values[kept] for name, values in stars.items()}


def _draw_star_colours(r_mag: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw g-r of stars: F to K, and M dwarfs, more of them among faint stars."""
    m = len(r_mag)
    red_share = np.clip(0.1 + 0.06 * (r_mag - 14), 0.1, 0.6)
    blue = np.clip(rng.normal(0.5, 0.18, m), *STAR_COLOURS)
    red = np.clip(rng.normal(1.38, 0.08, m), *STAR_COLOURS)
    return np.where(rng.random(m) < red_share, red, blue)


def _in_field(m: int, rng: np.random.Generator, field_arcsec: float) -> np.ndarray:
    return rng.uniform(-field_arcsec / 2, field_arcsec / 2, (2, m))
