"""Galaxies similar to examples, and the object at a position."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np
import pyarrow as pa

from galaxy_da.errors import LatentIndexError
from galaxy_da.index.gathering import arrow_array
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Subset
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.io.tables import check_positions
from galaxy_da.queries.rows import result_table, select

Example = str | np.ndarray
"""Key ``survey:object_id`` of an object of the index, or a (d,) latent vector."""

_AWAY = 0.5
"""Shift of the query away from the dislikes, as a fraction of its distance to them.

Share of the first 20 galaxies that are of the wanted class, for 3 likes and 3 dislikes on
simulated galaxies: 0.52 at 0, 0.55 at 0.5, 0.52 at 2. Ranking by the nearest like gives 0.48, and
by that less half the distance to the nearest dislike 0.44.
"""


def similar(
    index: StoredIndex,
    query: Example | Sequence[Example],
    k: int = 10,
    survey: str | None = None,
    *,
    dislike: Sequence[Example] = (),
    within: Subset | None = None,
) -> pa.Table:
    """Find the galaxies nearest to one or several examples.

    Several examples are replaced by their mean, shifted away from the mean of the dislikes
    (Rocchio 1971, in The SMART Retrieval System, ed. Salton, 313).

    Parameters
    ----------
    index : StoredIndex
        Index to search.
    query : str, (d,) float array, or sequence of these
        Keys ``survey:object_id``, which are left out of the result; or latent vectors.
    k : int
        Number of galaxies; fewer if the index has fewer.
    survey : str, optional
        Survey of the result; by default every survey.
    dislike : sequence of str or (d,) float array
        Counterexamples; keys are left out of the result.
    within : Subset, optional
        Conditions on the result.

    Returns
    -------
    pa.Table
        ``rank`` (from 1), ``survey``, ``object_id``, ``ra``, ``dec`` [deg], ``distance``,
        ``flags``; nearest first.

    Raises
    ------
    LatentIndexError
        If a key, the survey or a column is unknown, or no object meets the conditions.
    ValueError
        If a number is out of range, a condition cannot be read, or a vector has another width or is
        not finite.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1 but is {k}")
    likes: Sequence[Example] = (
        list(query) if isinstance(query, Sequence) and not isinstance(query, str) else [query]
    )
    if not likes:
        raise ValueError("query must be at least one key or vector but is empty")
    selection = select(index, survey, within)
    examples = {key: index.row(key) for key in (*likes, *dislike) if isinstance(key, str)}
    point = _mean(index, likes, examples)
    if dislike:
        point = point + _AWAY * (point - _mean(index, dislike, examples))
    excluded = {row for row in examples.values() if row in selection}
    distances, rows = index.search(point[None], k + len(excluded), selection)
    return _first(index, rows[0], distances[0], k, excluded)


def similar_to_each(
    index: StoredIndex, keys: Sequence[str], k: int = 10, survey: str | None = None
) -> list[pa.Table | LatentIndexError]:
    """Find the galaxies nearest to each of several keys, in one search.

    For each key it returns the result of `similar`, or its error if the key is unknown.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1 but is {k}")
    selection = index.select(survey)
    found: list[int | LatentIndexError] = []
    for key in keys:
        try:
            found.append(index.row(key))
        except LatentIndexError as error:
            found.append(error)
    known = np.array([row for row in found if isinstance(row, int)], np.int64)
    distances, rows = index.search(index.vectors[known], k + 1, selection)
    kept = rows != known[:, None]
    rank = kept.cumsum(axis=1, dtype=np.int32)
    kept &= rank <= k
    table = result_table(index, rows[kept], distance=distances[kept])
    table = table.set_column(0, "rank", arrow_array(rank[kept]))
    counts = kept.sum(axis=1)
    parts = map(table.slice, (counts.cumsum() - counts).tolist(), counts.tolist())
    return [next(parts) if isinstance(row, int) else row for row in found]


def at_position(index: StoredIndex, ra: float, dec: float, radius_arcsec: float = 5.0) -> str:
    """Return the key of the object nearest to an ICRS position [deg], within a radius."""
    check_positions(np.array([ra], float), np.array([dec], float), "position")
    every = (index.rows[name].to_numpy() for name in ("ra", "dec"))
    separation = np.nan_to_num(separation_arcsec(ra, dec, *every), nan=np.inf)  # unknown: last
    nearest = int(np.argmin(separation))
    arcsec = float(separation[nearest])
    if arcsec > radius_arcsec:
        raise LatentIndexError(
            f"no object within {radius_arcsec:g} arcsec of {ra:g}, {dec:g}; the nearest is "
            f"{index.key(nearest)} at {arcsec:.4g} arcsec"
        )
    return index.key(nearest)


def _first(
    index: StoredIndex, rows: np.ndarray, distances: np.ndarray, k: int, excluded: Container[int]
) -> pa.Table:
    """Return the first k neighbours that are not excluded."""
    kept = [place for place, row in enumerate(rows.tolist()) if row not in excluded][:k]
    return result_table(index, rows[kept], distance=distances[kept])


def _mean(index: StoredIndex, examples: Sequence[Example], rows: Mapping[str, int]) -> np.ndarray:
    points = [
        index.vectors[rows[example]] if isinstance(example, str) else np.asarray(example)
        for example in examples
    ]
    if len(points) == 1:
        return points[0]
    for point in points:
        if point.shape != (index.dimension,):
            raise ValueError(
                f"vectors must have shape (n, {index.dimension}) but one has {point.shape}"
            )
    return np.asarray(np.mean(points, axis=0, dtype=np.float64))
