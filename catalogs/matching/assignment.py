"""Which of the close pairs of two catalogues are kept."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from catalogs.matching.zones import Reach, Zones, close_pairs

__all__ = ["Match", "Mode", "match_zones"]

Mode = Literal["mutual", "nearest", "all"]


class Match(NamedTuple):
    """The kept pairs, and each position's neighbours within reach; all as places in zones.

    Attributes
    ----------
    anchor, target : (n_pairs,) int array
        In order of the anchor's row, then the target's.
    separation : (n_pairs,) float array
        [arcsec]
    n_targets, n_anchors : (n_anchor,) and (n_target,) int array
        Neighbours of each anchor and of each target.
    nearest_target, nearest_anchor : (n_anchor,) and (n_target,) float array
        Separation of the nearest [arcsec], infinite where there is none.
    """

    anchor: np.ndarray
    target: np.ndarray
    separation: np.ndarray
    n_targets: np.ndarray
    n_anchors: np.ndarray
    nearest_target: np.ndarray
    nearest_anchor: np.ndarray


def match_zones(anchor: Zones, target: Zones, reach: Reach, mode: Mode) -> Match:
    """Find the pairs within reach that `mode` keeps."""
    sizes = len(anchor.row), len(target.row)
    counts = [np.zeros(size, dtype=np.int64) for size in sizes]
    nearest = [np.full(size, np.inf) for size in sizes]
    none = np.zeros(0, dtype=np.int64)
    found = [(none, none, np.zeros(0))]
    for i, j, separation in close_pairs(anchor, target, reach):
        for side, places in enumerate((i, j)):
            np.add.at(counts[side], places, 1)
            np.minimum.at(nearest[side], places, separation)
        keep = slice(None) if mode == "all" else separation <= nearest[0][i]
        found.append((i[keep], j[keep], separation[keep]))
    i, j, separation = (np.concatenate(part) for part in zip(*found, strict=True))
    keep = np.ones(len(i), dtype=bool)
    if mode != "all":
        keep &= separation == nearest[0][i]
    if mode == "mutual":
        keep &= separation == nearest[1][j]
    pairs = np.flatnonzero(keep)
    if mode != "all":
        pairs = pairs[_is_lowest(target.row[j[pairs]], i[pairs], sizes[0])]
    if mode == "mutual":
        pairs = pairs[_is_lowest(anchor.row[i[pairs]], j[pairs], sizes[1])]
    pairs = pairs[np.argsort(anchor.row[i[pairs]] * sizes[1] + target.row[j[pairs]])]
    return Match(i[pairs], j[pairs], separation[pairs], *counts, *nearest)


def _is_lowest(row: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    """Mark the lowest row of each group."""
    lowest = np.full(n_groups, np.iinfo(np.int64).max)
    np.minimum.at(lowest, group, row)
    return np.asarray(row == lowest[group])
