"""Words for the changes that each latent makes to the decoded image of a galaxy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from galaxy_da.space import LatentSpace

REACH = 1.5
"""Change of a latent to either side [standard deviations]."""

_STRENGTH = 0.05
_LEAST, _SECOND = 0.5, 0.6
_ROUND = 0.9
_FAINT = 0.03
_TINY = 1e-12


@dataclass(frozen=True)
class LatentEffect:
    """Change of a decoded image from ``-REACH`` to ``REACH`` standard deviations of a latent."""

    words: tuple[str, ...]  # at most two, such as "larger", the stronger first; none if too small
    strength: float  # sum of the absolute change over the sum of the light


@dataclass(frozen=True)
class _Measure:
    """Property of an image, words for more and less of it, and a change that one notices."""

    more: str
    less: str
    notable: float


_MEASURES = {
    "magnitude": _Measure("fainter", "brighter", 0.3),
    "log_radius": _Measure("larger", "smaller", 0.15),
    "axis_ratio": _Measure("rounder", "flatter", 0.1),
    "colour": _Measure("redder", "bluer", 0.1),
    "concentration": _Measure("more compact", "more diffuse", 0.3),
    "x_arcsec": _Measure("shifted", "shifted", 1.0),
    "y_arcsec": _Measure("shifted", "shifted", 1.0),
}
_TURNED = _Measure("turned", "turned", 15.0)  # [deg]


def latent_effects(
    space: LatentSpace, latents: np.ndarray, std: np.ndarray
) -> tuple[LatentEffect, ...]:
    """Describe the effect of each latent on the decoded image of one galaxy.

    `latents` and `std`, (latents,), are the galaxy and nuisance latents of the galaxy, and the
    standard deviation of each. Magnitude, radius, axis ratio, colour, concentration, position and
    angle of the decoded images are measured by moments of their light.
    """
    n = len(latents)
    moves = np.diag(REACH * np.asarray(std, np.float32))
    points = np.asarray(latents, np.float32) + np.concatenate([moves, -moves])
    light = _brightness(space, points)
    measured = _measure(light, space.frame.pixel_scale_arcsec)
    up, down = ({name: part[side] for name, part in measured.items()} for side in _sides(n))
    change = np.abs(light[:n] - light[n:]).sum(axis=(1, 2, 3))
    total = (light[:n] + light[n:]).clip(0).sum(axis=(1, 2, 3)) / 2
    strength = change / np.maximum(total, _TINY)
    return tuple(
        LatentEffect(_words(up, down, i) if strength[i] >= _STRENGTH else (), float(strength[i]))
        for i in range(n)
    )


def _sides(n: int) -> tuple[slice, slice]:
    return slice(None, n), slice(n, None)


def _brightness(space: LatentSpace, points: np.ndarray) -> np.ndarray:
    """Decode points to surface brightness, (n, bands, y, x)."""
    softening = np.array(space.frame.softening)[:, None, None]
    light: np.ndarray = np.sinh(space.decode(points).numpy().astype(float)) * softening
    return light


def _measure(light: np.ndarray, pixel_scale_arcsec: float) -> dict[str, np.ndarray]:
    """Measure images by the moments of their light above 3% of the peak, (n,) each."""
    grey = light.sum(axis=1)
    bright = grey > _FAINT * grey.max(axis=(1, 2), keepdims=True)
    grey = np.where(bright, grey, 0).clip(0) + _TINY
    positive = np.where(bright[:, None], light, 0)
    grid = (np.arange(light.shape[-1]) - (light.shape[-1] - 1) / 2) * pixel_scale_arcsec
    flux = grey.sum(axis=(1, 2))
    x = (grey.sum(axis=1) @ grid) / flux
    y = (grey.sum(axis=2) @ grid) / flux
    dx, dy = grid[None, None, :] - x[:, None, None], grid[None, :, None] - y[:, None, None]
    xx, yy, xy = ((grey * part).sum(axis=(1, 2)) / flux for part in (dx**2, dy**2, dx * dy))
    spread = np.hypot(xx - yy, 2 * xy)
    colour = positive.sum(axis=(2, 3)).clip(_TINY)
    return {
        "magnitude": -2.5 * np.log10(flux),
        "log_radius": 0.5 * np.log(xx + yy),
        "axis_ratio": np.sqrt((xx + yy - spread) / (xx + yy + spread)),
        "colour": -2.5 * np.log10(colour[:, 0] / colour[:, min(1, colour.shape[1] - 1)]),
        "concentration": _concentration(grey, np.hypot(dx, dy)),
        "x_arcsec": x,
        "y_arcsec": y,
        "angle_deg": np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)),
    }


def _concentration(grey: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return 5 log10 of the ratio of the radii of 80% and 20% of the light, (n,)."""
    found = []
    for light, distance in zip(
        grey.reshape(len(grey), -1), radius.reshape(len(grey), -1), strict=True
    ):
        order = np.argsort(distance)
        share = np.cumsum(light[order]) / light.sum()
        inner, outer = np.interp((0.2, 0.8), share, distance[order])
        found.append(5 * np.log10(outer / max(inner, _TINY)))
    return np.array(found)


def _words(up: dict[str, np.ndarray], down: dict[str, np.ndarray], i: int) -> tuple[str, ...]:
    scores: dict[str, float] = {}
    for name, measure in _MEASURES.items():
        change = float(up[name][i] - down[name][i])
        word = measure.more if change > 0 else measure.less
        scores[word] = max(scores.get(word, 0.0), abs(change) / measure.notable)
    if min(up["axis_ratio"][i], down["axis_ratio"][i]) < _ROUND:
        turn = float(up["angle_deg"][i] - down["angle_deg"][i] + 90) % 180 - 90
        scores[_TURNED.more] = abs(turn) / _TURNED.notable
    ordered: Sequence[str] = sorted(scores, key=lambda word: -scores[word])
    least = max(_LEAST, _SECOND * scores[ordered[0]])
    return tuple(word for word in ordered[:2] if scores[word] >= least)
