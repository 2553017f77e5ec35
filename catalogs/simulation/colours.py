"""Colours of stars and of a galaxy's components, from four spectra.

Three stellar populations are mixed to the g-r of each component, so any band has a flux by its
wavelength. Stars mix them with the spectrum of an M dwarf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor

POPULATIONS = 4  # young, intermediate and old stars, and an M dwarf

# Magnitudes relative to r. The first three are near those of star-forming, spiral and (redshifted)
# quiescent galaxies, schematic; the last is a star of g-r 1.43.
_NM = (300, 355, 481, 642, 770, 925, 1031, 1248, 1631, 2201)
_MAG = (
    (0.80, 0.60, 0.00, 0.0, 0.02, 0.00, 0.00, 0.00, 0.00, 0.30),
    (2.20, 1.75, 0.60, 0.0, -0.30, -0.48, -0.55, -0.75, -0.95, -0.70),
    (3.60, 3.20, 1.50, 0.0, -0.55, -0.90, -1.05, -1.35, -1.70, -1.80),
    (5.60, 4.05, 1.43, 0.0, -1.36, -2.08, -2.30, -2.60, -2.72, -2.51),
)

# Stellar locus, AB magnitudes relative to r in u, g, i, z, J, H, K: medians of Covey et al. 2007,
# AJ 134, 2398, table 1, with J, H and K moved to AB by 0.89, 1.37 and 1.84 mag.
_STAR_NM = (355, 481, 770, 925, 1248, 1631, 2201)
_STAR_MAG = (
    (1.31, 0.24, -0.06, -0.06, 0.04, 0.29, 0.68),
    (1.69, 0.44, -0.16, -0.20, -0.18, -0.04, 0.36),
    (2.63, 0.73, -0.27, -0.39, -0.51, -0.52, -0.15),
    (3.40, 1.02, -0.38, -0.58, -0.79, -0.91, -0.57),
    (3.87, 1.26, -0.54, -0.83, -1.12, -1.30, -0.99),
    (4.00, 1.38, -0.71, -1.10, -1.44, -1.62, -1.34),
    (4.00, 1.41, -1.08, -1.65, -2.08, -2.22, -1.98),
    (4.05, 1.43, -1.36, -2.08, -2.60, -2.72, -2.51),
    (4.12, 1.50, -1.60, -2.45, -3.07, -3.18, -2.99),
    (4.14, 1.54, -1.75, -2.69, -3.37, -3.49, -3.32),
)
_STAR_WEIGHTS = (0.2, 2, 1, 2, 0.7, 0.4, 0.3)  # of the bands in the fit of the mix
STAR_COLOURS = (_STAR_MAG[0][1], _STAR_MAG[-1][1])  # range of g-r of the stars

_DUST = np.array([[-1.25, 0.25, 0, 0], [0, -1.25, 0.25, 0], [0, 0, -1, 0], [0, 0, 0, 0]])
"""Light that a lane of unit depth takes from each population (rows): what it lets through is
redder."""


def component_shares(truth: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the fraction of each galaxy's r light in each component.

    Fractions add up to 1. The disc's is what the dust lets through.
    """
    ratio = truth["merger_mass_ratio"]
    stars = 1 - truth["tail_strength"]
    companion = stars * ratio / (1 + ratio)
    main = stars - companion
    disc = main * (1 - truth["bulge_fraction"])
    arms, ring = disc * truth["arm_strength"], disc * truth["ring_strength"]
    clumps, bar = disc * truth["clumpiness"], disc * truth["bar_strength"]
    knotted = truth["knot_share"]
    return {
        "bulge": main * truth["bulge_fraction"],
        "bar": bar,
        "disc": disc - arms - ring - clumps - bar,
        "arm": arms * (1 - knotted),
        "ring": ring * (1 - knotted),
        "knot": (arms + ring) * knotted + clumps,
        "companion_bulge": companion * truth["companion_bulge_fraction"],
        "companion_disc": companion * (1 - truth["companion_bulge_fraction"]),
        "tail": truth["tail_strength"],
    }


def component_colour(truth: Mapping[str, Any], component: str) -> np.ndarray:
    """Return the g-r of a component of each galaxy before dust."""
    return np.asarray(truth[f"{component}_g_minus_r"])


def component_mix(truth: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return (n, 4) r light of each component by population; it adds up to 1 for each galaxy.

    ``dust`` is negative: the light that a lane takes from the disc.
    """
    mix = {
        name: share[:, None] * population_shares(component_colour(truth, name))
        for name, share in component_shares(truth).items()
    }
    lane = (truth["dust_strength"] * truth["dust_thickness"])[:, None] * (mix["disc"] @ _DUST)
    seen = mix["disc"].sum(1, keepdims=True)
    brighter = seen / (seen + lane.sum(1, keepdims=True)).clip(1e-9)
    return {**mix, "disc": mix["disc"] * brighter, "dust": lane * brighter}


def integrated_colour(truth: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the g-r of whole galaxies."""
    total = np.sum(list(component_mix(truth).values()), axis=0)
    green, red = (population_fluxes([nm]).numpy()[0] for nm in (481, 642))
    return np.asarray(-2.5 * np.log10((total @ green) / (total @ red)))


def population_shares(g_minus_r: np.ndarray) -> np.ndarray:
    """(m, 4) shares of the populations in r light that give galaxies (m,) colours."""
    known = 10 ** (-0.4 * np.array(_MAG)[:3, 2])  # g over r flux, falling
    wanted = 10 ** (-0.4 * np.asarray(g_minus_r))
    unit = np.eye(3, POPULATIONS).T
    return np.stack([np.interp(wanted, known[::-1], row[::-1]) for row in unit], axis=-1)


def star_shares(g_minus_r: np.ndarray) -> np.ndarray:
    """(m, 4) shares of the spectra in r light that give stars (m,) colours; some are negative."""
    known, shares = np.array(_STAR_MAG)[:, 1], _locus_shares()
    return np.stack([np.interp(g_minus_r, known, column) for column in shares.T], axis=-1)


def population_fluxes(wavelengths_nm: Sequence[float]) -> Tensor:
    """(wavelengths, 4) flux of each population over its r flux."""
    curves = PchipInterpolator(np.log(_NM), np.array(_MAG), axis=1)
    inside = np.clip(wavelengths_nm, _NM[0], _NM[-1])
    return torch.tensor(10 ** (-0.4 * curves(np.log(inside)).T), dtype=torch.float32)


@lru_cache(maxsize=1)
def _locus_shares() -> np.ndarray:
    """(stars, 4) shares of the spectra in the stars of the locus, by least squares in flux."""
    spectra = population_fluxes(_STAR_NM).numpy().astype(float)
    weights = np.array(_STAR_WEIGHTS)
    shares = []
    for magnitude in _STAR_MAG:
        relative = spectra * 10 ** (0.4 * np.array(magnitude))[:, None]
        matrix = np.vstack([relative * weights[:, None], np.full(POPULATIONS, 1e3)])  # r is exact
        shares.append(np.linalg.lstsq(matrix, np.append(weights, 1e3), rcond=None)[0])
    return np.array(shares)
