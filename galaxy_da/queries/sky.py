"""Which objects of an index share a place on the sky."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from galaxy_da.index.reading import StoredIndex

__all__ = ["chord", "counterparts", "directions", "separation_arcsec"]


def directions(index: StoredIndex, rows: np.ndarray) -> np.ndarray:
    """Return unit vectors to rows, (n, 3) float64."""
    table = index.take(rows, ["ra", "dec"])
    ra, dec = (np.radians(table[name].to_numpy()) for name in ("ra", "dec"))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def chord(arcsec: float) -> float:
    """Return the distance between unit vectors that are an angle apart.

    Raises
    ------
    ValueError
        If the angle is not between 0 and half a circle.
    """
    if not 0 <= arcsec <= 180 * 3600:
        raise ValueError(f"radius must be 0 to 648000 arcsec but is {arcsec}")
    return float(2 * np.sin(np.radians(arcsec / 3600) / 2))


def separation_arcsec(chords: np.ndarray) -> np.ndarray:
    """Return the angle [arcsec] between unit vectors that are (n,) distances apart."""
    half = np.arcsin(np.minimum(np.asarray(chords, dtype=float) / 2, 1))
    return np.asarray(np.degrees(2 * half) * 3600)


def counterparts(
    index: StoredIndex, first: np.ndarray, second: np.ndarray, radius_arcsec: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair the rows that are each other's nearest on the sky.

    Parameters
    ----------
    index : StoredIndex
        Where the rows are.
    first, second : (n,) and (m,) int array
        Rows of two surveys.
    radius_arcsec : float
        Farthest that a pair may be apart [arcsec].

    Returns
    -------
    first, second : (pairs,) int arrays
        Rows of each pair.
    separation : (pairs,) float array [arcsec]
    """
    here, there = directions(index, first), directions(index, second)
    limit = np.nextafter(chord(radius_arcsec), np.inf)
    apart, nearest = _nearest(there, here, limit)
    _, back = _nearest(here, there, limit)
    own = np.flatnonzero(np.isfinite(apart))
    own = own[back[nearest[own]] == own]
    return first[own], second[nearest[own]], separation_arcsec(apart[own])


def _nearest(among: np.ndarray, of: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance, infinite beyond the limit, and place of each point's nearest."""
    apart, place = cKDTree(among).query(of, distance_upper_bound=limit)
    return np.asarray(apart), np.asarray(place)
