"""Colours of a galaxy's components, from three stellar populations.

Populations are mixed to the g-r of each component, so any band has a flux by its wavelength.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor

__all__ = [
    "POPULATIONS", "component_colour", "component_shares", "integrated_colour",
    "population_fluxes", "population_shares",
]  # fmt: skip

POPULATIONS = 3  # young, intermediate and old

# Magnitudes relative to r, near those of star-forming, spiral and (redshifted) quiescent galaxies;
# schematic.
_NM = (300, 355, 481, 642, 770, 925, 1031, 1248, 1631, 2201)
_MAG = (
    (0.80, 0.60, 0.00, 0.0, 0.02, 0.00, 0.00, 0.00, 0.00, 0.30),
    (2.20, 1.75, 0.60, 0.0, -0.30, -0.48, -0.55, -0.75, -0.95, -0.70),
    (3.60, 3.20, 1.50, 0.0, -0.55, -0.90, -1.05, -1.35, -1.70, -1.80),
)


def component_shares(truth: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the fraction of each galaxy's r light in each component."""
    disc = 1 - truth["bulge_fraction"]
    patterned = disc * truth["arm_strength"]
    return {
        "bulge": truth["bulge_fraction"],
        "bar": disc * truth["bar_strength"],
        "disc": disc * (1 - truth["arm_strength"] - truth["bar_strength"]),
        "arm": patterned * (1 - truth["knot_share"]),
        "knot": patterned * truth["knot_share"],
    }


def component_colour(truth: Mapping[str, Any], component: str) -> np.ndarray:
    """Return the g-r of a component of each galaxy; a bar has its disc's."""
    return np.asarray(truth[f"{'disc' if component == 'bar' else component}_g_minus_r"])


def integrated_colour(truth: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the g-r of whole galaxies."""
    mix = sum(
        share[:, None] * population_shares(component_colour(truth, name))
        for name, share in component_shares(truth).items()
    )
    green, red = (population_fluxes([nm]).numpy()[0] for nm in (481, 642))
    return np.asarray(-2.5 * np.log10((mix @ green) / (mix @ red)))


def population_shares(g_minus_r: np.ndarray) -> np.ndarray:
    """(m, 3) shares of the populations in r light that give (m,) colours."""
    known = 10 ** (-0.4 * np.array(_MAG)[:, 2])  # g over r flux, falling
    wanted = 10 ** (-0.4 * np.asarray(g_minus_r))
    unit = np.eye(POPULATIONS)
    return np.stack([np.interp(wanted, known[::-1], row[::-1]) for row in unit], axis=-1)


def population_fluxes(wavelengths_nm: Sequence[float]) -> Tensor:
    """(wavelengths, 3) flux of each population over its r flux."""
    curves = PchipInterpolator(np.log(_NM), np.array(_MAG), axis=1)
    inside = np.clip(wavelengths_nm, _NM[0], _NM[-1])
    return torch.tensor(10 ** (-0.4 * curves(np.log(inside)).T), dtype=torch.float32)
