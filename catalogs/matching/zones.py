"""Which positions of two catalogues lie near each other, exactly, across the RA wrap and the poles.

This is the zones algorithm (Gray, Nieto-Santisteban & Szalay 2006, MSR-TR-2006-52,
arXiv:cs/0701171): positions are sorted by declination zone, then right ascension, so that what lies
near a position is one run of rows in at most two zones, found by binary search.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

__all__ = ["Reach", "Zones", "close_pairs", "separation_arcsec", "sort_zones", "unit_vectors"]

_ZONE_RADII = 8.0  # height of a zone, in radii: one anchor in four then looks into two zones
_MIN_ZONE_ARCSEC = 8.0  # keeps the sort key, zone * stride + ra, good to 1e-8 deg
_KEY_STRIDE = 720.0  # room for windows that reach past RA 0 and 360 [deg]
_PAD_DEG = 1e-7  # widens a window past the rounding of its key
_CHUNK_ROWS = 1 << 16  # anchors looked up at a time: their arrays fit the cache
_BATCH_CANDIDATES = 1 << 22  # candidates measured at a time: bounds memory in crowded fields


class Reach(NamedTuple):
    """How far apart two positions may be.

    Attributes
    ----------
    radius_arcsec, min_radius_arcsec : float
        Largest and smallest separation, both included [arcsec].
    sigmas : float, optional
        Largest separation in units of the pair's combined error, √(σ₁² + σ₂²).
    """

    radius_arcsec: float
    min_radius_arcsec: float = 0.0
    sigmas: float | None = None


class Zones(NamedTuple):
    """Positions in order of declination zone, then right ascension.

    Attributes
    ----------
    row : (n,) int array
        Where each came from.
    key : (n,) float array
        What they are sorted by.
    ra, dec : (n,) float array
        [deg]
    error : (n,) float array
        Standard error along one axis [arcsec]; one zero where errors are not known.
    """

    row: np.ndarray
    key: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    error: np.ndarray


def sort_zones(
    ra: np.ndarray, dec: np.ndarray, radius_arcsec: float, error: np.ndarray | None = None
) -> Zones:
    """Sort positions [deg] for pairs within `radius_arcsec`; `error` is in arcsec."""
    key = _zone(dec, radius_arcsec) * _KEY_STRIDE + ra
    row = np.argsort(key)
    return Zones(row, key[row], ra[row], dec[row], np.zeros(1) if error is None else error[row])


def close_pairs(
    anchor: Zones, target: Zones, reach: Reach
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield places of anchors and targets in their zones, and separations [arcsec], within reach.

    Both must have been sorted for the radius of `reach`.
    """
    for start in range(0, len(anchor.row) if len(target.row) else 0, _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        ra, dec = anchor.ra[rows], anchor.dec[rows]
        i, low, high = _windows(ra, dec, target, reach.radius_arcsec)
        total = np.cumsum(high - low)
        cuts = np.flatnonzero(np.diff(total // _BATCH_CANDIDATES)) + 1
        for part in np.split(np.arange(len(i)), cuts):
            n = high[part] - low[part]
            k = np.repeat(i[part], n)
            place = np.arange(len(k)) + np.repeat(low[part] - (np.cumsum(n) - n), n)
            separation = separation_arcsec(ra[k], dec[k], target.ra[place], target.dec[place])
            near = separation <= reach.radius_arcsec
            if reach.min_radius_arcsec:
                near &= separation >= reach.min_radius_arcsec
            k, place, separation = start + k[near], place[near], separation[near]
            if reach.sigmas is not None:
                errors = (
                    side.error.take(at, mode="clip") for side, at in ((anchor, k), (target, place))
                )
                near = separation <= reach.sigmas * np.hypot(*errors)
                k, place, separation = k[near], place[near], separation[near]
            yield k, place, separation


def separation_arcsec(
    ra1: np.ndarray, dec1: np.ndarray, ra2: np.ndarray, dec2: np.ndarray
) -> np.ndarray:
    """Return angles between positions [deg] in arcsec by haversines, exact to rounding if small."""
    d1, d2 = np.radians(dec1), np.radians(dec2)
    h = np.sin((d2 - d1) / 2) ** 2
    h += np.cos(d1) * np.cos(d2) * np.sin(np.radians(ra2 - ra1) / 2) ** 2
    return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.minimum(h, 1.0)))) * 3600)


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return positions [deg] as (n, 3) unit vectors."""
    ra, dec = np.radians(ra), np.radians(dec)
    cos_dec = np.cos(dec)
    return np.stack([cos_dec * np.cos(ra), cos_dec * np.sin(ra), np.sin(dec)], axis=-1)


def _zone(dec: np.ndarray, radius_arcsec: float) -> np.ndarray:
    """Return the number of the declination zone of each position."""
    height_deg = max(_ZONE_RADII * radius_arcsec, _MIN_ZONE_ARCSEC) / 3600
    return np.asarray(np.floor((dec + 90) / height_deg))


def _windows(
    ra: np.ndarray, dec: np.ndarray, target: Zones, radius_arcsec: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return positions' numbers and the runs [low, high) of sorted targets that may be near them.

    A circle of radius r about declination d reaches asin(sin r / cos d) in right ascension.
    """
    radius = radius_arcsec / 3600 + _PAD_DEG
    ratio = np.sin(np.radians(radius)) / np.maximum(np.cos(np.radians(dec)), 1e-12)
    reach = np.degrees(np.arcsin(np.minimum(ratio, 1.0))) + _PAD_DEG
    around = (ratio > 0.9) | (np.abs(dec) + radius > 90)  # near a pole: the whole circle
    west, east = np.where(around, 0.0, ra - reach), np.where(around, 360.0, ra + reach)
    first, last = _zone(dec - radius, radius_arcsec), _zone(dec + radius, radius_arcsec)
    parts = []
    for shift, wraps in ((0.0, None), (360.0, west < 0), (-360.0, east > 360)):
        i = np.arange(len(ra)) if wraps is None else np.flatnonzero(wraps)
        two = i[last[i] > first[i]]
        i, zone = np.concatenate([i, two]), np.concatenate([first[i], last[two]])
        key = zone * _KEY_STRIDE + shift
        low, stop = np.searchsorted(target.key, key + west[i]), key + east[i]
        some = np.flatnonzero(target.key.take(low, mode="clip") <= stop)
        high = np.searchsorted(target.key, stop[some], side="right")
        parts.append((i[some], low[some], high))
    i, low, high = (np.concatenate(part) for part in zip(*parts, strict=True))
    return i, low, high
