"""Explain a crossmatch without pairs: other field, units or frame, or swapped columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from catalogs.matching.settings import MatchSettings
from catalogs.matching.zones import Zones
from catalogs.reading.frames import to_icrs
from galaxy_da.io.sphere import chord, chord_to_arcsec, unit_vectors

_ROWS_TRIED = 2_000  # under each supposition
_FEWEST, _SHARE = 3, 0.05  # of the rows tried that must pair to support a supposition

_Trees = dict[str, Any]  # of cKDTree
_Supposition = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

_SUPPOSITIONS: dict[str, _Supposition] = {
    "its ra were hours (unit=hourangle)": lambda ra, dec: (ra * 15, dec),
    "its ra were degrees, not hours (unit=deg)": lambda ra, dec: (ra / 15, dec),
    "its positions were radians (unit=rad)": lambda ra, dec: (np.degrees(ra), np.degrees(dec)),
    "its ra and dec were swapped": lambda ra, dec: (dec % 360, ra),
    "its positions were Galactic (frame=galactic)": lambda ra, dec: to_icrs(ra, dec, "galactic"),
    "its positions were ecliptic (frame=ecliptic)": lambda ra, dec: to_icrs(ra, dec, "ecliptic"),
    "its positions were of equinox B1950 (frame=fk4)": lambda ra, dec: to_icrs(ra, dec, "fk4"),
}


def explain_no_pairs(anchor: Zones, target: Zones, settings: MatchSettings) -> str:
    """Describe in one line both fields, their closest approach, and the likely mistake.

    The mistake is the supposition about units, frame or columns under which most rows would pair.
    Both sides have a row or more, and no pair.
    """
    trees = {
        side: cKDTree(unit_vectors(zones.ra, zones.dec))
        for side, zones in (("anchor", anchor), ("target", target))
    }
    advice = "check the radius, that both are ICRS degrees, and that both cover the same field"
    if best := max(_tried(anchor, target, trees, settings), default=None):
        share, n, side, supposition = best
        advice = f"{n} of {round(n / share)} {side} rows tried would pair if {supposition}"
    within = f"within {settings.radius_arcsec:g} arcsec"
    if settings.min_radius_arcsec:
        within += f" but beyond {settings.min_radius_arcsec:g} arcsec"
    if settings.sigmas is not None:
        within += f" and {settings.sigmas:g} position errors"
    return (
        f"no pairs {within}: anchor covers {_extent(anchor)}, target covers {_extent(target)}, and "
        f"they come no closer than {_nearest_approach(trees):.6g} arcsec; {advice}"
    )


def _tried(
    anchor: Zones, target: Zones, trees: _Trees, settings: MatchSettings
) -> Iterator[tuple[float, int, str, str]]:
    """Yield share and number of rows that pair under each supposition with enough of them."""
    limit = chord(settings.radius_arcsec)
    for side, zones, other in (("target", target, "anchor"), ("anchor", anchor, "target")):
        rows = np.random.default_rng(0).permutation(len(zones.row))[:_ROWS_TRIED]
        for supposition, apply in _SUPPOSITIONS.items():
            ra, dec = apply(zones.ra[rows], zones.dec[rows])
            if np.any((ra < 0) | (ra > 360) | (np.abs(dec) > 90)):
                continue
            distance, _ = trees[other].query(unit_vectors(ra, dec), distance_upper_bound=limit)
            n = int(np.isfinite(distance).sum())
            if n >= max(_FEWEST, _SHARE * len(rows)):
                yield n / len(rows), n, side, supposition


def _nearest_approach(trees: _Trees) -> float:
    """Return the smallest separation between two catalogues [arcsec].

    The result for a few anchors bounds the search for the others.
    """
    points = np.asarray(trees["anchor"].data)
    order = np.random.default_rng(0).permutation(len(points))
    closest = np.inf
    for rows in np.split(order, [n for n in (10, 1_000, 100_000) if n < len(order)]):
        found = trees["target"].query(points[rows], distance_upper_bound=closest)[0]
        closest = min(closest, np.min(found))
    return float(chord_to_arcsec(np.asarray(closest)))


def _extent(sky: Zones) -> str:
    """Describe the range of positions; right ascension starts after its largest gap."""
    ra = np.sort(sky.ra)
    start = int(np.argmax(np.diff(ra, append=ra[0] + 360))) + 1
    return (
        f"RA {ra[start % len(ra)]:.4f} to {ra[start - 1]:.4f}, "
        f"Dec {sky.dec.min():.4f} to {sky.dec.max():.4f}"
    )
