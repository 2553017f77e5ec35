"""Choose the pairs to keep among the close pairs of two catalogues."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import NamedTuple

import numpy as np

from catalogs.matching.settings import MatchSettings
from catalogs.matching.zones import Zones, close_pairs

_THREADS = min(4, os.cpu_count() or 1)
_FEWEST_ROWS = 1 << 16  # anchors of a thread


class Match(NamedTuple):
    """The kept pairs and the neighbours of each position, all as places in zones.

    Pairs are in order of the anchor's row, then the target's.
    """

    anchor: np.ndarray  # (n_pairs,)
    target: np.ndarray
    separation: np.ndarray  # [arcsec]
    n_targets: np.ndarray  # neighbours of each anchor
    n_anchors: np.ndarray  # and of each target
    nearest_target: np.ndarray  # separation of each anchor's nearest [arcsec], inf without one
    nearest_anchor: np.ndarray  # and of each target's


def match_zones(anchor: Zones, target: Zones, settings: MatchSettings) -> Match:
    """Find the close pairs that the mode of `settings` keeps."""
    mode = settings.mode
    sizes = len(anchor.row), len(target.row)
    counts = [np.zeros(size, dtype=np.int32) for size in sizes]
    nearest = [np.full(size, np.inf) for size in sizes]
    empty, lock = np.zeros(0, dtype=np.int64), Lock()

    def find(start: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        close = [(empty, empty, np.zeros(0))]
        for i, j, separation in close_pairs(anchor, target, settings, slice(start, start + step)):
            with lock:
                for side, places in enumerate((i, j)):
                    np.add.at(counts[side], places, np.int32(1))  # of another type it is slow
                    np.minimum.at(nearest[side], places, separation)
            keep = slice(None) if mode == "all" else separation <= nearest[0][i]
            close.append((i[keep], j[keep], separation[keep]))
        return close

    step = max(_FEWEST_ROWS, -(-sizes[0] // _THREADS))
    with ThreadPoolExecutor(_THREADS) as pool:
        found = [pair for part in pool.map(find, range(0, sizes[0] or 1, step)) for pair in part]
    i, j, separation = (np.concatenate(part) for part in zip(*found, strict=True))
    keep = np.ones(len(i), dtype=bool)
    if mode != "all":
        keep &= separation == nearest[0][i]
    if mode == "mutual":
        keep &= separation == nearest[1][j]
    pairs = np.flatnonzero(keep)
    if mode != "all":
        pairs = _with_lowest(target.row, j, i, pairs)
    if mode == "mutual":
        pairs = _with_lowest(anchor.row, i, j, pairs)
    row = anchor.row[i[pairs]]
    if mode == "all":
        order = np.lexsort((target.row[j[pairs]], row))
    else:  # each anchor has one pair: a list by row is faster than sorting
        by_row = np.full(row.max(initial=-1) + 1, -1)
        by_row[row] = np.arange(len(row))
        order = by_row[by_row >= 0]
    pairs = pairs[order]
    return Match(i[pairs], j[pairs], separation[pairs], *counts, *nearest)


def _with_lowest(
    rows: np.ndarray, place: np.ndarray, group: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """Return, of pairs with one `group`, the one whose `place` has the lowest row."""
    group = group[pairs]
    met = np.zeros(group.max(initial=-1) + 1, dtype=bool)
    met[group] = True
    if met.sum() == len(pairs):  # no equal separations
        return pairs
    row = rows[place[pairs]]
    lowest = np.full(len(met), np.iinfo(np.int64).max)
    np.minimum.at(lowest, group, row)
    return np.asarray(pairs[row == lowest[group]])
