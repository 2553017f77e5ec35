"""Find the close pairs of two catalogues, exactly, also across the RA wrap and the poles.

This is the zones algorithm (Gray, Nieto-Santisteban & Szalay 2006, MSR-TR-2006-52,
arXiv:cs/0701171): positions are sorted by declination zone, then right ascension. All neighbours of
a position are then one run of rows in each of at most two zones, found by binary search.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from catalogs.matching.settings import MatchSettings
from galaxy_da.io.sphere import separation_arcsec

_ZONE_RADII = 8.0  # height of a zone, in radii: one anchor in four then looks into two zones
_MIN_ZONE_ARCSEC = 8.0  # keeps the sort key, zone * stride + ra, good to 1e-8 deg
_KEY_STRIDE = 720.0  # room for windows across RA 0 and 360 [deg]
_PAD_DEG = 1e-7  # widens a window past the rounding of its key
_CHUNK_ROWS = 1 << 14  # anchors looked up at a time: their arrays stay in the cache
_BATCH_CANDIDATES = 1 << 22  # candidates measured at a time: bounds memory in crowded fields


class Zones(NamedTuple):
    """Positions in order of declination zone, then right ascension."""

    row: np.ndarray  # (n,) in the catalogue
    key: np.ndarray  # of the order
    ra: np.ndarray  # [deg]
    dec: np.ndarray
    error: np.ndarray  # along one axis [arcsec]; a single zero if errors are not known


def sort_zones(
    ra: np.ndarray, dec: np.ndarray, radius_arcsec: float, error: np.ndarray | None = None
) -> Zones:
    """Sort positions [deg] for pairs within `radius_arcsec`; `error` is in arcsec."""
    key = _zone(dec, radius_arcsec) * _KEY_STRIDE + ra
    row = np.argsort(key)
    return Zones(row, key[row], ra[row], dec[row], np.zeros(1) if error is None else error[row])


def close_pairs(
    anchor: Zones, target: Zones, settings: MatchSettings, places: slice = slice(None)
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield places of anchors and targets in their zones, and separations [arcsec].

    Both must have been sorted for the radius of `settings`. `places` are those of the anchors.
    """
    first, last, _ = places.indices(len(anchor.row) if len(target.row) else 0)
    for start in range(first, last, _CHUNK_ROWS):
        rows = slice(start, min(start + _CHUNK_ROWS, last))
        ra, dec = anchor.ra[rows], anchor.dec[rows]
        i, low, high = _windows(ra, dec, target, settings.radius_arcsec)
        total = np.cumsum(high - low)
        cuts = np.flatnonzero(np.diff(total // _BATCH_CANDIDATES)) + 1
        for part in np.split(np.arange(len(i)), cuts):
            n = high[part] - low[part]
            k = np.repeat(i[part], n)
            place = np.arange(len(k)) + np.repeat(low[part] - (np.cumsum(n) - n), n)
            separation = separation_arcsec(ra[k], dec[k], target.ra[place], target.dec[place])
            near = separation <= settings.radius_arcsec
            if settings.min_radius_arcsec:
                near &= separation >= settings.min_radius_arcsec
            k, place, separation = start + k[near], place[near], separation[near]
            if settings.sigmas is not None:
                errors = (
                    side.error.take(at, mode="clip") for side, at in ((anchor, k), (target, place))
                )
                near = separation <= settings.sigmas * np.hypot(*errors)
                k, place, separation = k[near], place[near], separation[near]
            yield k, place, separation


def _zone(dec: np.ndarray, radius_arcsec: float) -> np.ndarray:
    height_deg = max(_ZONE_RADII * radius_arcsec, _MIN_ZONE_ARCSEC) / 3600
    return np.asarray(np.floor((dec + 90) / height_deg))


def _windows(
    ra: np.ndarray, dec: np.ndarray, target: Zones, radius_arcsec: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return positions' numbers and the runs [low, high) of sorted targets near them.

    A circle of radius r about declination d reaches asin(sin r / cos d) in right ascension.
    """
    radius = radius_arcsec / 3600 + _PAD_DEG
    ratio = np.sin(np.radians(radius)) / np.maximum(np.cos(np.radians(dec)), 1e-12)
    reach = np.degrees(np.arcsin(np.minimum(ratio, 1.0))) + _PAD_DEG
    around = (ratio > 0.9) | (np.abs(dec) + radius > 90)  # near a pole: the whole circle
    west, east = np.where(around, 0.0, ra - reach), np.where(around, 360.0, ra + reach)
    first, last = _zone(dec - radius, radius_arcsec), _zone(dec + radius, radius_arcsec)
    ends = [first.min() * _KEY_STRIDE, (last.max() + 1) * _KEY_STRIDE]
    start, end = np.searchsorted(target.key, ends)
    keys, parts = target.key[start:end], []  # a short search, in the cache
    for shift, wraps in ((0.0, None), (360.0, west < 0), (-360.0, east > 360)):
        i = np.arange(len(ra)) if wraps is None else np.flatnonzero(wraps)
        two = i[last[i] > first[i]]
        i, zone = np.concatenate([i, two]), np.concatenate([first[i], last[two]])
        key = zone * _KEY_STRIDE + shift
        low, stop = np.searchsorted(keys, key + west[i]), key + east[i]
        filled = np.flatnonzero(keys.take(low, mode="clip") <= stop) if len(keys) else i[:0]
        i, low, stop = i[filled], low[filled], stop[filled]
        high = low + 1
        more = np.flatnonzero(keys.take(high, mode="clip") <= stop)
        high[more] = np.searchsorted(keys, stop[more], side="right")
        parts.append((i, start + low, start + high))
    i, low, high = (np.concatenate(part) for part in zip(*parts, strict=True))
    return i, low, high
