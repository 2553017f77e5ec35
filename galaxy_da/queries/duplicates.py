"""Duplicates within one survey: objects that are close on the sky or in latents."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from galaxy_da.errors import LatentIndexError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Selection, Subset
from galaxy_da.io.sphere import chord, chord_to_arcsec
from galaxy_da.queries.rows import BATCH, result_table, select, separations
from galaxy_da.queries.sky import directions, placed_directions

MOST_PAIRS = 10_000_000
"""Largest number of pairs; a threshold that gives more is refused."""

_FIRST_NEIGHBOURS = 8


def duplicates(
    index: StoredIndex,
    survey: str,
    *,
    arcsec: float | None = None,
    distance: float | None = None,
    within: Subset | None = None,
) -> pa.Table:
    """Group the objects of a survey that lie within a threshold of each other.

    Parameters
    ----------
    index, survey, within
        As for `galaxy_da.queries.similar.similar`.
    arcsec : float, optional
        Largest separation on the sky [arcsec].
    distance : float, optional
        Largest distance in latents. With both thresholds a pair must meet both.

    Returns
    -------
    pa.Table
        ``group`` (from 1, the largest first), ``survey``, ``object_id``, ``ra``, ``dec`` [deg],
        ``separation_arcsec`` and ``distance`` (the smallest of the pairs that an object is in),
        and ``flags``. Objects are in one group if a chain of pairs joins them; objects without a
        pair are left out.

    Raises
    ------
    LatentIndexError
        If more than ten million pairs meet the thresholds.
    """
    thresholds = [value for value in (arcsec, distance) if value is not None]
    if not thresholds or not all(0 <= value < np.inf for value in thresholds):
        raise ValueError(
            f"give arcsec, distance or both, finite and not negative, not {arcsec} and {distance}"
        )
    selection = select(index, survey, within)
    rows = selection.rows
    if arcsec is not None:
        first, second = _close_on_sky(index, rows, arcsec)
    else:
        assert distance is not None
        first, second = _close_in_latents(index, selection, distance)
    latent = separations(index.vectors, rows[first], rows[second])
    if distance is not None:
        near = latent <= distance
        first, second, latent = first[near], second[near], latent[near]
    sky = directions(index, rows)
    angle = chord_to_arcsec(np.linalg.norm(sky[first] - sky[second], axis=1))
    n = len(rows)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joined = coo_array((np.ones(len(first), bool), (first, second)), shape=(n, n))
    _, label = connected_components(joined, directed=False)
    size = np.bincount(label, minlength=1)[label]
    order = np.lexsort((label, -size))
    order = order[size[order] > 1]
    new_group = np.diff(label[order], prepend=-1) != 0
    table = result_table(
        index,
        rows[order],
        separation_arcsec=pa.array(_least(angle, first, second, n)[order], from_pandas=True),
        distance=_least(latent, first, second, n)[order],
    )
    return table.set_column(0, "group", pa.array(np.cumsum(new_group).astype(np.int32)))


def _close_on_sky(
    index: StoredIndex, rows: np.ndarray, arcsec: float
) -> tuple[np.ndarray, np.ndarray]:
    from scipy.spatial import cKDTree

    placed, sky = placed_directions(index, rows)
    tree, limit = cKDTree(sky), np.nextafter(chord(arcsec), np.inf)
    _refuse_many((int(tree.count_neighbors(tree, limit)) - len(placed)) // 2)
    first, second = placed[tree.query_pairs(limit, output_type="ndarray").T]
    return first, second


def _close_in_latents(
    index: StoredIndex, selection: Selection, distance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return each pair once, by place among the selected rows.

    Objects whose farthest neighbour is within the distance are searched again for more neighbours.
    """
    rows, firsts, seconds, total = selection.rows, [], [], 0
    waiting, count = np.arange(len(rows)), min(_FIRST_NEIGHBOURS, len(rows))
    while len(waiting):
        wider = []
        for low in range(0, len(waiting), BATCH):
            own = waiting[low : low + BATCH]
            latent, near = index.search(index.vectors[rows[own]], count, selection, exact=True)
            full = (latent[:, -1] <= distance) & (count < len(rows))
            wider.append(own[full])
            here, column = np.nonzero((latent <= distance) & ~full[:, None])
            one, other = own[here], np.searchsorted(rows, near[here, column])
            once = one < other
            firsts.append(one[once])
            seconds.append(other[once])
            total += int(once.sum())
            _refuse_many(max(total, int(full.sum()) * count // 2))
        waiting, count = np.concatenate(wider), min(4 * count, len(rows))
    return np.concatenate(firsts), np.concatenate(seconds)


def _refuse_many(pairs: int) -> None:
    if pairs > MOST_PAIRS:
        raise LatentIndexError(
            f"at least {pairs:,} pairs are within the threshold, more than {MOST_PAIRS:,}; lower it"
        )


def _least(values: np.ndarray, first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    """Return the smallest known value of the pairs that each of n objects is in, or NaN."""
    least = np.full(n, np.nan, values.dtype)
    np.fmin.at(least, first, values)
    np.fmin.at(least, second, values)
    return least
