"""Which rows of two catalogues are the same source on the sky.

The join is exact and handles the RA wrap and the poles. It follows the zones algorithm (Gray,
Nieto-Santisteban & Szalay 2006, MSR-TR-2006-52, arXiv:cs/0701171): positions are sorted by
declination zone, then right ascension, so that what lies near a position is one run of rows in at
most two zones, found by binary search.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.spatial import cKDTree

from galaxy_da.errors import CatalogError
from galaxy_da.tables import check_positions, check_unique, with_metadata

__all__ = ["MAX_RADIUS_ARCSEC", "Mode", "crossmatch"]

Mode = Literal["mutual", "nearest", "all"]

MAX_RADIUS_ARCSEC = 3600.0
"""Largest radius a match is asked for [arcsec]."""

_ZONE_RADII = 8.0  # height of a zone, in radii: one anchor in four then looks into two zones
_MIN_ZONE_ARCSEC = 8.0  # keeps the sort key, zone * stride + ra, good to 1e-8 deg
_KEY_STRIDE = 720.0  # room for windows that reach past RA 0 and 360 [deg]
_PAD_DEG = 1e-7  # widens a window past the rounding of its key
_CHUNK_ROWS = 1 << 16  # anchors looked up at a time: their arrays fit the cache
_BATCH_CANDIDATES = 1 << 22  # candidates measured at a time: bounds memory in crowded fields
_TRIAL_ROWS = 5_000  # anchors drawn for each offset
_MIN_SHIFT_ARCSEC, _SHIFT_RADII = 10.0, (10.0, 60.0)


def crossmatch(
    anchor: pa.Table,
    target: pa.Table,
    *,
    radius_arcsec: float = 1.0,
    mode: Mode = "mutual",
    n_offsets: int = 20,
    seed: int = 0,
    allow_same_survey: bool = False,
) -> pa.Table:
    """Pair the rows of two catalogues by position.

    Parameters
    ----------
    anchor, target : pa.Table
        Each with a unique ``object_id`` and ``ra``, ``dec`` [ICRS deg], as `read_catalog` returns.
    radius_arcsec : float
        Largest separation of a pair, included [arcsec]; at most `MAX_RADIUS_ARCSEC`.
    mode : {"mutual", "nearest", "all"}
        ``mutual`` keeps the pairs neither of whose members has anything nearer on the other side:
        one to one. ``nearest`` keeps each anchor's nearest target, ``all`` every pair. Among equal
        separations the lowest row wins.
    n_offsets : int
        How often the false-match rate is measured; at least 2.
    seed : int
        Of the random offsets.
    allow_same_survey : bool
        Accept two observations of one survey.

    Returns
    -------
    pa.Table
        In anchor row order: ``anchor_id``, ``target_id``, ``separation_arcsec`` (float64),
        ``n_candidates`` (int32, targets within the radius of the anchor) and ``ambiguous`` (bool,
        several candidates on either side). The schema metadata hold ``radius_arcsec``, ``mode``,
        ``n_anchor``, ``n_target``, ``n_pairs`` and, measured on shifted anchors,

        - ``false_match_rate``: probability that an anchor without a counterpart finds a chance one,
          with its standard error ``false_match_rate_error``;
        - ``expected_false_pairs``: how many of the pairs are chance ones, and
          ``expected_false_share``, the same over ``n_pairs``.

    Raises
    ------
    ValueError
        If the radius, mode or number of offsets is out of range.
    CatalogError
        If a table is empty or lacks a column, a position is bad, the two sides are one survey, or
        nothing pairs.
    TableError
        If an ``object_id`` is repeated.

    Notes
    -----
    Each of `n_offsets` times, up to 5,000 anchors are moved in random directions by 10 to 60 radii,
    at least 10 to 60 arcsec: far enough to lose their counterparts, near enough to see the same
    density of targets. A chance target at separation s would have become a pair of the unmoved
    anchor if neither of the two has anything nearer than s. Counting those estimates the chance
    pairs kept, without bias for targets scattered at random about the anchors (Mecke's formula for
    a Poisson process), by local density and with the true pairs in competition. In a field only
    a few shifts wide, anchors moved off its edge make both numbers too small.
    """
    if not 0 < radius_arcsec <= MAX_RADIUS_ARCSEC:
        raise ValueError(
            f"radius_arcsec must be in (0, {MAX_RADIUS_ARCSEC:g}] but is {radius_arcsec}"
        )
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))} but is {mode!r}")
    if n_offsets < 2:
        raise ValueError(f"n_offsets must be at least 2 but is {n_offsets}")
    tables = {"anchor": anchor, "target": target}
    if not allow_same_survey:
        _refuse_one_label(anchor, target)
    with ThreadPoolExecutor(2) as pool:
        near, far = pool.map(_zones, tables.values(), tables, [radius_arcsec] * 2)
    match = _match(near, far, radius_arcsec, mode)
    if not len(match.anchor):
        raise CatalogError(_explain_no_pairs(near, far, radius_arcsec))
    pairs = pa.table(
        {
            "anchor_id": _take_ids(anchor, near.row[match.anchor]),
            "target_id": _take_ids(target, far.row[match.target]),
            "separation_arcsec": match.separation,
            "n_candidates": match.n_targets[match.anchor].astype(np.int32),
            "ambiguous": (match.n_targets[match.anchor] > 1) | (match.n_anchors[match.target] > 1),
        }
    )
    if not allow_same_survey:
        _refuse_same_ids(pairs)
    metadata = {
        "radius_arcsec": float(radius_arcsec),
        "mode": mode,
        "n_anchor": len(anchor),
        "n_target": len(target),
        "n_pairs": len(pairs),
        **_chance(near, far, match, radius_arcsec, mode, n_offsets, seed),
    }
    return with_metadata(pairs, metadata)


class _Zones(NamedTuple):
    """Positions in order of declination zone, then right ascension."""

    row: np.ndarray  # where each came from
    key: np.ndarray  # zone * _KEY_STRIDE + ra, ascending
    ra: np.ndarray  # [deg]
    dec: np.ndarray  # [deg]


class _Match(NamedTuple):
    """The kept pairs, and each position's neighbours within the radius; all in places in zones."""

    anchor: np.ndarray  # (n_pairs,)
    target: np.ndarray  # (n_pairs,)
    separation: np.ndarray  # (n_pairs,) [arcsec]
    n_targets: np.ndarray  # (n_anchor,) neighbours of each anchor
    n_anchors: np.ndarray  # (n_target,)
    nearest_target: np.ndarray  # (n_anchor,) [arcsec], inf where there is none
    nearest_anchor: np.ndarray  # (n_target,)


def _zones(table: pa.Table, where: str, radius_arcsec: float) -> _Zones:
    """Check that a catalogue can be matched, and sort its positions."""
    missing = [name for name in ("object_id", "ra", "dec") if name not in table.column_names]
    if missing:
        raise CatalogError(
            f"{where}: column {', '.join(map(repr, missing))} is missing; it has "
            f"{', '.join(table.column_names)}; read_catalog finds the columns of a file"
        )
    if not len(table):
        raise CatalogError(f"{where}: has no rows; nothing can be matched")
    ids = table["object_id"]
    if ids.type not in (pa.string(), pa.large_string()) or ids.null_count:
        raise CatalogError(
            f"{where}: object_id must hold a string for every row but holds {ids.type} with "
            f"{ids.null_count} empty; ids as numbers lose digits"
        )
    check_unique(table, ("object_id",), where)
    ra, dec = (table[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
    check_positions(ra, dec, where)
    return _sort(ra, dec, radius_arcsec)


def _sort(ra: np.ndarray, dec: np.ndarray, radius_arcsec: float) -> _Zones:
    """Sort positions by zone and right ascension."""
    key = _zone(dec, radius_arcsec) * _KEY_STRIDE + ra
    row = np.argsort(key)
    return _Zones(row, key[row], ra[row], dec[row])


def _zone(dec: np.ndarray, radius_arcsec: float) -> np.ndarray:
    """Return the number of the declination zone of each position."""
    height_deg = max(_ZONE_RADII * radius_arcsec, _MIN_ZONE_ARCSEC) / 3600
    return np.asarray(np.floor((dec + 90) / height_deg))


def _match(anchor: _Zones, target: _Zones, radius_arcsec: float, mode: Mode) -> _Match:
    """Find the pairs that `mode` keeps."""
    sizes = len(anchor.row), len(target.row)
    counts = [np.zeros(size, dtype=np.int64) for size in sizes]
    nearest = [np.full(size, np.inf) for size in sizes]
    found = []
    for i, j, separation in _close_pairs(anchor, target, radius_arcsec):
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
    return _Match(i[pairs], j[pairs], separation[pairs], *counts, *nearest)


def _is_lowest(row: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    """Mark the lowest row of each group."""
    lowest = np.full(n_groups, np.iinfo(np.int64).max)
    np.minimum.at(lowest, group, row)
    return np.asarray(row == lowest[group])


def _close_pairs(
    anchor: _Zones, target: _Zones, radius_arcsec: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield places of anchors and targets, and separations [arcsec], of all pairs in the radius."""
    for start in range(0, len(anchor.row), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        ra, dec = anchor.ra[rows], anchor.dec[rows]
        i, low, high = _windows(ra, dec, target, radius_arcsec)
        total = np.cumsum(high - low)
        cuts = np.flatnonzero(np.diff(total // _BATCH_CANDIDATES)) + 1
        for part in np.split(np.arange(len(i)), cuts):
            n = high[part] - low[part]
            k = np.repeat(i[part], n)
            place = np.arange(len(k)) + np.repeat(low[part] - (np.cumsum(n) - n), n)
            separation = _separation(ra[k], dec[k], target.ra[place], target.dec[place])
            near = separation <= radius_arcsec
            yield start + k[near], place[near], separation[near]


def _windows(
    ra: np.ndarray, dec: np.ndarray, target: _Zones, radius_arcsec: float
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


def _separation(ra1: np.ndarray, dec1: np.ndarray, ra2: np.ndarray, dec2: np.ndarray) -> np.ndarray:
    """Return angles between positions [arcsec] by haversines, exact to rounding when small."""
    d1, d2 = np.radians(dec1), np.radians(dec2)
    h = np.sin((d2 - d1) / 2) ** 2
    h += np.cos(d1) * np.cos(d2) * np.sin(np.radians(ra2 - ra1) / 2) ** 2
    return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.minimum(h, 1.0)))) * 3600)


def _chance(
    anchor: _Zones,
    target: _Zones,
    match: _Match,
    radius_arcsec: float,
    mode: Mode,
    n_offsets: int,
    seed: int,
) -> dict[str, float]:
    """Measure chance matches on shifted anchors; see `crossmatch`, Notes."""
    rng = np.random.default_rng(seed)
    n_anchor = len(anchor.row)
    n_trials = min(n_anchor, _TRIAL_ROWS)
    drawn = [rng.choice(n_anchor, n_trials, replace=False) for _ in range(n_offsets)]
    source = np.concatenate(drawn)
    shortest, longest = (max(_MIN_SHIFT_ARCSEC * k / 10, k * radius_arcsec) for k in _SHIFT_RADII)
    ra, dec = _shift(
        anchor.ra[source],
        anchor.dec[source],
        rng.uniform(0, 2 * np.pi, len(source)),
        np.radians(rng.uniform(shortest, longest, len(source)) / 3600),
    )
    hit = np.zeros(len(source), dtype=bool)
    n_false = 0
    trials = _sort(ra, dec, radius_arcsec)
    for i, j, separation in _close_pairs(trials, target, radius_arcsec):
        hit[trials.row[i]] = True
        kept = np.ones(len(i), dtype=bool)
        if mode != "all":
            kept &= separation < match.nearest_target[source[trials.row[i]]]
        if mode == "mutual":
            kept &= separation < match.nearest_anchor[j]
        n_false += int(kept.sum())
    rates = hit.reshape(n_offsets, n_trials).mean(axis=1)
    expected = n_false / len(source) * n_anchor
    return {
        "false_match_rate": float(rates.mean()),
        "false_match_rate_error": float(rates.std(ddof=1) / np.sqrt(n_offsets)),
        "expected_false_pairs": expected,
        "expected_false_share": expected / len(match.anchor),
    }


def _shift(
    ra: np.ndarray, dec: np.ndarray, angle: np.ndarray, length: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move positions [deg] by `length` [rad] at position angle `angle` [rad]."""
    d = np.radians(dec)
    sin_dec = np.sin(d) * np.cos(length) + np.cos(d) * np.sin(length) * np.cos(angle)
    east = np.sin(angle) * np.sin(length) * np.cos(d)
    turn = np.arctan2(east, np.cos(length) - np.sin(d) * sin_dec)
    return (ra + np.degrees(turn)) % 360, np.degrees(np.arcsin(np.clip(sin_dec, -1, 1)))


def _take_ids(table: pa.Table, rows: np.ndarray) -> pa.ChunkedArray:
    return table["object_id"].cast(pa.string()).take(pa.array(rows))


def _refuse_one_label(anchor: pa.Table, target: pa.Table) -> None:
    """Refuse two tables whose survey columns name one and the same survey."""
    if "survey" in anchor.column_names and "survey" in target.column_names:
        labels = [pc.unique(table["survey"]).to_pylist() for table in (anchor, target)]
        if labels[0] == labels[1] and len(labels[0]) == 1:
            raise CatalogError(
                f"anchor and target are both of survey {labels[0][0]!r}; give two surveys, or "
                "allow_same_survey for repeat observations of one"
            )


def _refuse_same_ids(pairs: pa.Table) -> None:
    """Refuse pairs most of which join equal ids."""
    same = pc.sum(pc.equal(pairs["anchor_id"], pairs["target_id"])).as_py()
    if same > len(pairs) / 2:
        raise CatalogError(
            f"{same} of {len(pairs)} pairs join rows of the same object_id, so anchor and target "
            "look like one survey; give two surveys, or allow_same_survey if they share ids or "
            "are repeat observations of one"
        )


def _explain_no_pairs(anchor: _Zones, target: _Zones, radius_arcsec: float) -> str:
    """Tell where both sides lie and how close they come."""
    return (
        f"no pairs within {radius_arcsec:g} arcsec: anchor covers {_extent(anchor)}, target covers "
        f"{_extent(target)}, and they come no closer than {_nearest_approach(anchor, target):.6g} "
        "arcsec; check the radius, that both are ICRS degrees, and that both cover the same field"
    )


def _nearest_approach(anchor: _Zones, target: _Zones) -> float:
    """Return the smallest separation between two catalogues [arcsec].

    Few anchors are asked first: what they find bounds the search for the many.
    """
    tree, points = cKDTree(_unit_vectors(target)), _unit_vectors(anchor)
    order = np.random.default_rng(0).permutation(len(points))
    chord = np.inf
    for some in np.split(order, [n for n in (10, 1_000, 100_000) if n < len(order)]):
        chord = min(chord, np.min(tree.query(points[some], distance_upper_bound=chord)[0]))
    return float(np.degrees(2 * np.arcsin(min(chord / 2, 1.0))) * 3600)


def _unit_vectors(sky: _Zones) -> np.ndarray:
    ra, dec = np.radians(sky.ra), np.radians(sky.dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _extent(sky: _Zones) -> str:
    """Word the range of positions; right ascension starts after its largest gap."""
    ra = np.sort(sky.ra)
    start = int(np.argmax(np.diff(ra, append=ra[0] + 360))) + 1
    return (
        f"RA {ra[start % len(ra)]:.4f} to {ra[start - 1]:.4f}, "
        f"Dec {sky.dec.min():.4f} to {sky.dec.max():.4f}"
    )
