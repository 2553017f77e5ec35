"""Measure the number of chance pairs of a crossmatch on anchors moved by random offsets."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np
from astropy.coordinates import offset_by
from scipy.spatial import cKDTree

from catalogs.matching.assignment import Match
from catalogs.matching.settings import MatchSettings
from catalogs.matching.zones import Zones, close_pairs, sort_zones
from galaxy_da.io.sphere import unit_vectors

_TRIAL_ROWS = 5_000  # largest number of anchors to move
_MIN_SHIFT_ARCSEC, _SHIFT_RADII = 10.0, (10.0, 60.0)
_DENSITY_ROWS, _NEIGHBOURS, _BINS = 30_000, 10, 5
_SPHERE_ARCMIN2 = 4 * np.pi * np.degrees(60) ** 2


def chance_matches(
    anchor: Zones,
    target: Zones,
    matching: Future[Match],
    settings: MatchSettings,
) -> dict[str, Any]:
    """Measure chance matches on anchors moved in random directions.

    Up to 5,000 anchors are moved `n_offsets` times each by 10 to 60 radii, at least 10 to 60
    arcsec: far enough to lose their counterparts, near enough for the same density of targets. A
    chance target at separation s would have become a pair of the unmoved anchor if neither of the
    two has a neighbour nearer than s. Their number estimates the chance pairs kept, by local
    density and in competition with the true pairs. It is unbiased for targets scattered at random
    about the anchors (Mecke's formula for a Poisson process). Clustering on scales below the shift
    is missed. In a field only a few shifts wide, anchors moved off its edge make all numbers too
    small.

    Returns
    -------
    dict
        ``false_match_rate``, the probability that an anchor without a counterpart finds a chance
        one, and ``false_match_rate_error``, its standard error; ``false_match_by_density``, the
        same in fifths of the anchors by the density of targets about them, with its median
        ``targets_per_arcmin2``; ``expected_false_pairs`` and, where there are pairs,
        ``expected_false_share`` of them. Empty if a side is empty.

    References
    ----------
    Density from the k-th neighbour, (k - 1) / area: Cressie 1993, Statistics for Spatial Data, 8.2.
    Error of a sample in two stages, anchors and their offsets: Cochran 1977, Sampling Techniques,
    eq. 11.24.
    """
    if not len(anchor.row) or not len(target.row):
        return {}
    rng, n_offsets = np.random.default_rng(settings.seed), settings.n_offsets
    n_anchor = len(anchor.row)
    drawn = np.sort(rng.choice(n_anchor, min(n_anchor, _TRIAL_ROWS), replace=False))
    trials = _move(anchor, drawn, settings, rng)
    density = _density_per_arcmin2(anchor.ra[drawn], anchor.dec[drawn], target)
    match = matching.result()
    hit = np.zeros((len(drawn), n_offsets), dtype=bool)
    n_false = 0
    for i, j, separation in close_pairs(trials, target, settings):
        which = trials.row[i] // n_offsets
        hit.reshape(-1)[trials.row[i]] = True
        kept = np.ones(len(i), dtype=bool)
        if settings.mode != "all":
            kept &= separation < match.nearest_target[drawn[which]]
        if settings.mode == "mutual":
            kept &= separation < match.nearest_anchor[j]
        n_false += int(kept.sum())
    expected = n_false / hit.size * n_anchor
    parts = np.array_split(np.argsort(density), min(_BINS, len(drawn)))
    measured = {
        **_rate(hit, n_anchor),
        "false_match_by_density": [
            {
                "targets_per_arcmin2": float(np.median(density[part])),
                **_rate(hit[part], n_anchor * len(part) / len(drawn)),
            }
            for part in parts
        ],
        "expected_false_pairs": expected,
    }
    if len(match.anchor):
        measured["expected_false_share"] = expected / len(match.anchor)
    return measured


def _move(
    anchor: Zones, drawn: np.ndarray, settings: MatchSettings, rng: np.random.Generator
) -> Zones:
    """Move each drawn anchor `n_offsets` times; row is its place in (n_drawn, n_offsets)."""
    shape, radius_arcsec = (len(drawn), settings.n_offsets), settings.radius_arcsec
    shortest, longest = (max(_MIN_SHIFT_ARCSEC * k / 10, k * radius_arcsec) for k in _SHIFT_RADII)
    angle = rng.uniform(0, 2 * np.pi, shape)
    length = np.radians(rng.uniform(shortest, longest, shape) / 3600)
    from_ra, from_dec = np.radians(anchor.ra[drawn, None]), np.radians(anchor.dec[drawn, None])
    ra, dec = (np.ravel(moved.deg) for moved in offset_by(from_ra, from_dec, angle, length))
    error = anchor.error.take(np.repeat(drawn, settings.n_offsets), mode="clip")
    return sort_zones(ra % 360, dec, radius_arcsec, error)


def _rate(hit: np.ndarray, n_anchor: float) -> dict[str, float]:
    """Return the share of hits (n_drawn, n_offsets), as an estimate for `n_anchor` anchors."""
    n_drawn = len(hit)
    means = hit.mean(axis=1)
    between = means.var(ddof=1) if n_drawn > 1 else 0.0
    within = hit.var(axis=1, ddof=1).mean()
    share = min(n_drawn / n_anchor, 1.0)
    variance = (1 - share) * between / n_drawn + share * within / hit.size
    return {
        "false_match_rate": float(means.mean()),
        "false_match_rate_error": float(np.sqrt(variance)),
    }


def _density_per_arcmin2(ra: np.ndarray, dec: np.ndarray, target: Zones) -> np.ndarray:
    """Return the density of targets about positions [deg], from their tenth neighbour."""
    every = slice(None, None, -(-len(target.row) // _DENSITY_ROWS))
    points = unit_vectors(target.ra[every], target.dec[every])
    tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
    k = min(_NEIGHBOURS, len(points))
    chord = np.asarray(tree.query(unit_vectors(ra, dec), k=[k])[0])[:, 0]
    cap = np.maximum(chord, 1e-9) ** 2 / 4  # share of the sphere within a chord
    return np.asarray(max(k - 1, 1) / cap / _SPHERE_ARCMIN2 * (len(target.row) / len(points)))
