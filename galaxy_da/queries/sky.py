"""Counterparts of objects of an index, by position on the sky."""

from __future__ import annotations

import numpy as np

from galaxy_da.index.reading import StoredIndex
from galaxy_da.io.sphere import chord, chord_to_arcsec, unit_vectors


def directions(index: StoredIndex, rows: np.ndarray) -> np.ndarray:
    """Return unit vectors to rows, (n, 3) float64, NaN where the position is not known."""
    table = index.take(rows, ["ra", "dec"])
    return unit_vectors(table["ra"].to_numpy(), table["dec"].to_numpy())


def placed_directions(index: StoredIndex, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places among n rows whose position is known, and unit vectors to them."""
    towards = directions(index, rows)
    places = np.flatnonzero(np.isfinite(towards).all(1))
    return places, towards[places]


def counterparts(
    index: StoredIndex, first: np.ndarray, second: np.ndarray, radius_arcsec: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair rows of two surveys that are mutual nearest neighbours on the sky, within a radius.

    Returns the rows of each pair, two (pairs,) int arrays, and their separations [arcsec].
    """
    places, here = placed_directions(index, first)
    first = first[places]
    places, there = placed_directions(index, second)
    second = second[places]
    limit = np.nextafter(chord(radius_arcsec), np.inf)
    apart, nearest = _nearest(there, here, limit)
    _, back = _nearest(here, there, limit)
    own = np.flatnonzero(np.isfinite(apart))
    own = own[back[nearest[own]] == own]
    return first[own], second[nearest[own]], chord_to_arcsec(apart[own])


def _nearest(among: np.ndarray, of: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance (infinite beyond the limit) and place of each point's nearest."""
    from scipy.spatial import cKDTree

    apart, place = cKDTree(among).query(of, distance_upper_bound=limit)
    return np.asarray(apart), np.asarray(place)
