"""Which galaxies are like one, like some and unlike others, or lie at a position."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from galaxy_da.errors import LatentIndexError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Condition, Cone
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.io.tables import check_positions
from galaxy_da.queries.rows import answer

__all__ = ["Example", "at_position", "similar", "similar_to_each"]


Example = str | np.ndarray
"""Key ``survey:object_id`` of an object of the index, or a (d,) latent vector."""

_AWAY = 0.5
"""How far the query moves off the dislikes, over their distance. On simulated galaxies of a class,
3 likes and 3 dislikes, 0.55 of the first 20 are of the class at 0.5, 0.52 without moving, 0.52 at
2; ranking by the nearest like gives 0.48, less half the distance to the nearest dislike 0.44."""


def similar(
    index: StoredIndex,
    query: Example | Sequence[Example],
    k: int = 10,
    survey: str | None = None,
    *,
    dislike: Sequence[Example] = (),
    where: Condition | Iterable[Condition] = (),
    cone: Cone | None = None,
) -> pa.Table:
    """Find the galaxies nearest to one or several examples.

    Several are searched for by their mean, moved away from the mean of the dislikes (Rocchio 1971,
    in The SMART Retrieval System, ed. Salton, 313).

    Parameters
    ----------
    index : StoredIndex
        Where to look.
    query : str, (d,) float array, or sequence of these
        Keys ``survey:object_id``, themselves left out of the answer; or latent vectors.
    k : int
        How many; fewer where there are not so many.
    survey : str, optional
        Look among its objects only.
    dislike : sequence of str or (d,) float array
        What not to find; keys are left out of the answer.
    where, cone : optional
        Look among the objects that meet these only (`StoredIndex.select`).

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
        If k < 1, there is no example, a condition cannot be read, or a vector has another width or
        is not finite.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1 but is {k}")
    likes: Sequence[Example] = (
        list(query) if isinstance(query, Sequence) and not isinstance(query, str) else [query]
    )
    if not likes:
        raise ValueError("query must be at least one key or vector but is empty")
    within = index.select(survey, where=where, cone=cone)
    named = {key: index.row(key) for key in (*likes, *dislike) if isinstance(key, str)}
    point = _mean(index, likes, named)
    if dislike:
        point = point + _AWAY * (point - _mean(index, dislike, named))
    inside = {row for row in named.values() if row in within}
    found, rows = index.search(point[None], k + len(inside), within)
    others = [place for place, row in enumerate(rows[0].tolist()) if row not in inside][:k]
    return answer(index, rows[0][others], distance=found[0][others])


def similar_to_each(
    index: StoredIndex, keys: Sequence[str], k: int = 10, survey: str | None = None
) -> list[pa.Table | LatentIndexError]:
    """Find the galaxies nearest to each of several, searched for together.

    Parameters
    ----------
    index, k, survey
        As for `similar`.
    keys : sequence of str
        Keys ``survey:object_id``.

    Returns
    -------
    list of pa.Table or LatentIndexError
        For each key what `similar` returns, or raises where the key is unknown.

    Raises
    ------
    LatentIndexError
        If the survey is unknown.
    ValueError
        If k < 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1 but is {k}")
    within = index.select(survey)
    known: dict[int, int] = {}
    answers: list[pa.Table | LatentIndexError] = []
    for place, key in enumerate(keys):
        try:
            known[place] = index.row(key)
        except LatentIndexError as error:
            answers.append(error)
        else:
            answers.append(None)
    if not known:
        return answers
    own = np.array(list(known.values()), np.int64)
    found, rows = index.search(index.vectors[own], k + 1, within)
    others = rows != own[:, None]
    others &= np.cumsum(others, axis=1) <= k
    every = answer(index, rows[others], distance=found[others])
    counts = others.sum(axis=1)
    ranks = np.concatenate([np.arange(1, n + 1, dtype=np.int32) for n in counts])
    every = every.set_column(0, "rank", pa.array(ranks))
    stop = np.cumsum(counts)
    for number, place in enumerate(known):
        start = int(stop[number - 1]) if number else 0
        answers[place] = every.slice(start, int(stop[number]) - start)
    return answers


def at_position(index: StoredIndex, ra: float, dec: float, radius_arcsec: float = 5.0) -> str:
    """Return the key of the object nearest to a position on the sky.

    Parameters
    ----------
    index : StoredIndex
        Where to look.
    ra, dec : float
        ICRS position [deg].
    radius_arcsec : float
        How far it may be [arcsec].

    Returns
    -------
    str
        Key ``survey:object_id``.

    Raises
    ------
    CatalogError
        If the position is not in degrees on the sky.
    LatentIndexError
        If no object lies within the radius.
    """
    check_positions(np.array([ra], float), np.array([dec], float), "position")
    separation = separation_arcsec(
        ra, dec, index.rows["ra"].to_numpy(), index.rows["dec"].to_numpy()
    )
    nearest = int(np.argmin(separation))
    arcsec = float(separation[nearest])
    if arcsec > radius_arcsec:
        raise LatentIndexError(
            f"no object within {radius_arcsec:g} arcsec of {ra:g}, {dec:g}; the nearest is "
            f"{index.key(nearest)} at {arcsec:.4g} arcsec"
        )
    return index.key(nearest)


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
