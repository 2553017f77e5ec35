"""What an index answers: similar galaxies, the same galaxy across surveys, odd ones.

Each question is a function of a `StoredIndex` and a method of `LatentIndex`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.coordinates import angular_separation

from galaxy_da.errors import LatentIndexError
from galaxy_da.stored_index import StoredIndex
from galaxy_da.tables import check_positions, read_metadata, validate_pairs, with_metadata

__all__ = ["RANDOM_PAIRS", "LatentIndex", "at_position", "distances", "outliers", "similar"]

RANDOM_PAIRS = 20_000
"""Random anchor-target pairs that a pair's distance is compared with."""

_SEED = 0
_BATCH = 4096


def similar(
    index: StoredIndex, query: str | np.ndarray, k: int = 10, survey: str | None = None
) -> pa.Table:
    """Find the galaxies nearest to one galaxy or latent vector.

    Parameters
    ----------
    index : StoredIndex
        Where to look.
    query : str or (d,) float array
        Key ``survey:object_id``, itself left out of the answer; or a latent vector.
    k : int
        How many; fewer where there are not so many.
    survey : str, optional
        Look among its objects only.

    Returns
    -------
    pa.Table
        ``rank`` (from 1), ``survey``, ``object_id``, ``ra``, ``dec`` [deg], ``distance``,
        ``flags``; nearest first.

    Raises
    ------
    LatentIndexError
        If the key or the survey is unknown.
    ValueError
        If k < 1, or the vector has another width or is not finite.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1 but is {k}")
    if not isinstance(query, str):
        found, rows = index.search(np.asarray(query)[None], k, survey)
        return _answer(index, rows[0], distance=found[0])
    own = index.row(query)
    start, stop = index.span(survey)
    inside = start <= own < stop
    found, rows = index.search(index.vectors[own][None], k + inside, survey)
    if inside:
        found, rows = _without(np.array([own]), found, rows)
    return _answer(index, rows[0], distance=found[0])


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
    longitude, latitude = (np.radians(index.rows[name].to_numpy()) for name in ("ra", "dec"))
    separation = angular_separation(np.radians(ra), np.radians(dec), longitude, latitude)
    nearest = int(np.argmin(separation))
    arcsec = float(np.degrees(separation[nearest])) * 3600
    if arcsec > radius_arcsec:
        raise LatentIndexError(
            f"no object within {radius_arcsec:g} arcsec of {ra:g}, {dec:g}; the nearest is "
            f"{index.key(nearest)} at {arcsec:.4g} arcsec"
        )
    return index.key(nearest)


def distances(index: StoredIndex, pairs: pa.Table, *, anchor: str, target: str) -> pa.Table:
    """Measure how far apart the two images of each paired galaxy lie.

    Parameters
    ----------
    index : StoredIndex
        Holding both surveys.
    pairs : pa.Table
        Pair table (`galaxy_da.tables.validate_pairs`).
    anchor, target : str
        Surveys that ``anchor_id`` and ``target_id`` belong to.

    Returns
    -------
    pa.Table
        The pairs with ``distance`` (float32) and ``percentile`` (share, 0 to 1, of `RANDOM_PAIRS`
        random anchor-target pairs that are closer than this one), null where either object is not
        in the index. Metadata gains ``median_same``, ``median_random``, their ``ratio`` (None if
        the latter is 0), ``auc`` (probability that a pair is closer than a random one),
        ``n_pairs`` and ``n_missing``.

    Raises
    ------
    LatentIndexError
        If a survey is not in the index, no pair is, or no unpaired combination is left to draw
        from.
    TableError
        If the pair table lacks a column.
    ValueError
        If anchor and target are one survey.
    """
    validate_pairs(pairs, "pairs")
    if anchor == target:
        raise ValueError(f"anchor and target must be two surveys but both are {anchor!r}")
    first = _rows_of(index, anchor, pairs["anchor_id"])
    second = _rows_of(index, target, pairs["target_id"])
    found = (first >= 0) & (second >= 0)
    if not found.any():
        raise LatentIndexError(
            f"none of the {pairs.num_rows} pairs is in this index: {(first >= 0).sum()} anchor_id "
            f"are of {anchor}, {(second >= 0).sum()} target_id of {target}; are the surveys in the "
            "right order?"
        )
    same = _separations(index.vectors, first[found], second[found])
    drawn = _random_pairs(index.span(anchor), index.span(target), first[found], second[found])
    random = np.sort(_separations(index.vectors, *drawn))
    closer = np.searchsorted(random, same, side="left")
    not_farther = np.searchsorted(random, same, side="right")
    median_same, median_random = float(np.median(same)), float(np.median(random))
    summary = {
        "median_same": median_same,
        "median_random": median_random,
        "ratio": median_same / median_random if median_random else None,
        "auc": 1 - float(np.mean(closer + not_farther)) / (2 * len(random)),
        "n_pairs": pairs.num_rows,
        "n_missing": int((~found).sum()),
    }
    table = _with_column(pairs, "distance", same, found)
    table = _with_column(table, "percentile", closer / len(random), found)
    return with_metadata(table, {**read_metadata(pairs.schema), **summary})


def outliers(
    index: StoredIndex, survey: str | None = None, k: int = 50, neighbours: int = 10
) -> pa.Table:
    """Rank the galaxies that lie farthest from their neighbours.

    The score is the mean distance to the nearest neighbours (Angiulli & Pizzuti 2002, PKDD).
    Flagged objects are kept: ``flags`` tells a bad image from an odd galaxy.

    Parameters
    ----------
    index : StoredIndex
        Where to look.
    survey : str, optional
        Rank its objects among themselves; by default the whole index.
    k : int
        How many; fewer where there are not so many.
    neighbours : int
        Neighbours averaged over, the object itself left out; fewer where there are not so many.

    Returns
    -------
    pa.Table
        As `similar`, with ``distance`` to the nearest neighbour, and ``outlier_score``; oddest
        first.

    Raises
    ------
    LatentIndexError
        If the survey is not in the index, or there is only one object.
    ValueError
        If k < 1 or neighbours < 1.
    """
    if k < 1 or neighbours < 1:
        raise ValueError(f"k and neighbours must be at least 1 but are {k} and {neighbours}")
    start, stop = index.span(survey)
    if stop - start < 2:
        raise LatentIndexError(
            f"{survey or 'this index'}: has one object only; ranking outliers takes at least two"
        )
    nearest = np.empty(stop - start, np.float32)
    score = np.empty(stop - start, np.float32)
    for low in range(start, stop, _BATCH):
        own = np.arange(low, min(low + _BATCH, stop))
        found, rows = index.search(index.vectors[own], neighbours + 1, survey)
        found, _ = _without(own, found, rows)
        nearest[own - start], score[own - start] = found[:, 0], found.mean(axis=1)
    oddest = np.argsort(-score, kind="stable")[:k]
    return _answer(index, oddest + start, distance=nearest[oddest], outlier_score=score[oddest])


class LatentIndex(StoredIndex):
    """A stored index and its queries."""

    similar = similar
    at_position = at_position
    distances = distances
    outliers = outliers


def _answer(index: StoredIndex, rows: np.ndarray, **measures: np.ndarray) -> pa.Table:
    table = index.rows.select(["survey", "object_id", "ra", "dec", "flags"]).take(pa.array(rows))
    columns = {"rank": pa.array(np.arange(1, len(rows) + 1, dtype=np.int32))}
    columns |= {name: table[name] for name in ("survey", "object_id", "ra", "dec")}
    columns |= {name: pa.array(values) for name, values in measures.items()}
    return pa.table({**columns, "flags": table["flags"]})


def _without(own: np.ndarray, found: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop each row's own number, or the last where as many exact duplicates displaced it."""
    drop = rows == own[:, None]
    drop[~drop.any(axis=1), -1] = True
    return found[~drop].reshape(len(own), -1), rows[~drop].reshape(len(own), -1)


def _rows_of(index: StoredIndex, survey: str, ids: pa.ChunkedArray) -> np.ndarray:
    """Row numbers of a survey's objects, -1 where they are not in the index."""
    start, stop = index.span(survey)
    known = index.rows["object_id"].slice(start, stop - start).combine_chunks()
    places = pc.fill_null(pc.index_in(ids.cast(pa.string()), value_set=known), -1).to_numpy()
    return np.where(places < 0, -1, places + start).astype(np.int64)


def _separations(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    parts = [
        np.linalg.norm(
            vectors[first[low : low + _BATCH]] - vectors[second[low : low + _BATCH]], axis=1
        )
        for low in range(0, len(first), _BATCH)
    ]
    return np.concatenate(parts)


def _random_pairs(
    anchors: tuple[int, int], targets: tuple[int, int], first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw row numbers of anchors and targets, uniform over the combinations that are no pair."""
    n_anchors, n_targets = anchors[1] - anchors[0], targets[1] - targets[0]
    paired = np.unique((first - anchors[0]) * n_targets + second - targets[0])
    unpaired = n_anchors * n_targets - len(paired)
    if not unpaired:
        raise LatentIndexError(
            f"all {len(paired)} combinations of anchor and target are pairs, so there are no "
            "random ones to compare with; index more objects"
        )
    drawn = np.random.default_rng(_SEED).integers(unpaired, size=RANDOM_PAIRS)
    # the r-th unpaired combination comes after as many paired ones as precede it
    combination = drawn + np.searchsorted(paired - np.arange(len(paired)), drawn, side="right")
    return anchors[0] + combination // n_targets, targets[0] + combination % n_targets


def _with_column(table: pa.Table, name: str, values: np.ndarray, found: np.ndarray) -> pa.Table:
    """Add or replace a column that has a value only where found."""
    full = np.zeros(len(found), values.dtype)
    full[found] = values
    column = pa.array(full, mask=~found)
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, column)
    return table.append_column(name, column)
