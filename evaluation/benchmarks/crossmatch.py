"""Crossmatch against astropy: time, agreement and memory at growing size.

``python -m evaluation.benchmarks.crossmatch`` prints the table. Both sides start from the same
Arrow tables and end with the rows that pair; ours also checks ids, counts rivals and measures the
false-match rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy import units as u
from astropy.coordinates import SkyCoord, match_coordinates_sky

from catalogs.crossmatch import crossmatch
from evaluation.benchmarks.tables import print_rows

__all__ = ["crossmatch_rows"]

DENSITY_PER_DEG2 = 1000.0
JITTER_ARCSEC = 0.2
SHARE_IN_COMMON = 0.8
RADIUS_ARCSEC = 1.0
_SOUTH_DEG, _NORTH_DEG, _WEST_DEG = -20.0, 30.0, 350.0  # a field across RA 0

_Recipe = Callable[[pa.Table, pa.Table, str], np.ndarray]


def crossmatch_rows(
    sizes: Sequence[int] = (100_000, 1_000_000), repeats: int = 3, seed: int = 1
) -> list[dict[str, Any]]:
    """Measure `crossmatch` beside the astropy recipe for the same pairs.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each catalogue, at `DENSITY_PER_DEG2` on the sky.
    repeats : int
        Interleaved runs in this process; the medians are reported.
    seed : int
        Of the catalogues.

    Returns
    -------
    list of dict
        One row per size and mode: ``n``, ``mode``, ``ours_s``, ``astropy_s`` and their median
        ``ratio``, ``pairs_identical``, and the peak memory of a fresh process beyond its imports,
        catalogues included, ``ours_mb_per_million`` and ``astropy_mb_per_million`` (NaN where the
        system does not tell).
    """
    rows = []
    for n in sizes:
        anchor, target = _catalogs(n, seed)
        for mode in ("nearest", "mutual"):
            times, results = _interleave((_ours, _astropy), (anchor, target, mode), repeats)
            row = {
                "n": n,
                "mode": mode,
                "ours_s": float(np.median(times[0])),
                "astropy_s": float(np.median(times[1])),
                "ratio": float(np.median(times[1] / times[0])),
                "pairs_identical": bool(np.array_equal(results[0], results[1])),
            }
            for name, recipe in (("ours", _ours), ("astropy", _astropy)):
                row[f"{name}_mb_per_million"] = _extra_mb(recipe, n, seed, mode) / n * 1e6
            rows.append(row)
    return rows


def _catalogs(n: int, seed: int) -> tuple[pa.Table, pa.Table]:
    """Draw an anchor and a target that holds a jittered, permuted part of it and strangers."""
    rng = np.random.default_rng(seed)
    sines = np.sin(np.radians([_SOUTH_DEG, _NORTH_DEG]))
    width_deg = n / DENSITY_PER_DEG2 / np.degrees(np.ptp(sines))
    n_common = int(SHARE_IN_COMMON * n)

    def uniform(size: int) -> tuple[np.ndarray, np.ndarray]:
        ra = _WEST_DEG + rng.uniform(0, width_deg, size)
        return ra, np.degrees(np.arcsin(rng.uniform(sines[0], sines[1], size)))

    ra, dec = uniform(n)
    common = rng.permutation(n)[:n_common]
    jitter = rng.normal(0, JITTER_ARCSEC / 3600, (2, n_common))
    strangers = uniform(n - n_common)
    target_ra = np.concatenate(
        [ra[common] + jitter[0] / np.cos(np.radians(dec[common])), strangers[0]]
    )
    target_dec = np.concatenate([dec[common] + jitter[1], strangers[1]])
    order = rng.permutation(n)
    return _table("a", ra, dec), _table("t", target_ra[order], target_dec[order])


def _table(prefix: str, ra: np.ndarray, dec: np.ndarray) -> pa.Table:
    ids = np.char.add(prefix, np.arange(len(ra)).astype(str))
    return pa.table({"object_id": pa.array(ids), "ra": ra % 360, "dec": dec})


def _ours(anchor: pa.Table, target: pa.Table, mode: Any) -> np.ndarray:
    """Return the row numbers of the pairs, (n_pairs, 2), from our pair table."""
    pairs = crossmatch(anchor, target, radius_arcsec=RADIUS_ARCSEC, mode=mode)
    return np.stack([_row_numbers(pairs[name]) for name in ("anchor_id", "target_id")], axis=1)


def _row_numbers(ids: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.utf8_slice_codeunits(ids, start=1).cast(pa.int64()))


def _astropy(anchor: pa.Table, target: pa.Table, mode: str) -> np.ndarray:
    """Return the same by `match_coordinates_sky`, there and, for mutual pairs, back."""
    a, t = (
        SkyCoord(table["ra"].to_numpy() * u.deg, table["dec"].to_numpy() * u.deg)
        for table in (anchor, target)
    )
    to_target, separation, _ = match_coordinates_sky(a, t)
    keep = separation.arcsec <= RADIUS_ARCSEC
    if mode == "mutual":
        to_anchor, _, _ = match_coordinates_sky(t, a)
        keep &= to_anchor[to_target] == np.arange(len(a))
    rows = np.flatnonzero(keep)
    return np.stack([rows, to_target[rows]], axis=1)


def _interleave(
    recipes: Sequence[_Recipe], arguments: tuple[pa.Table, pa.Table, str], repeats: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Run recipes in turn; return times (n_recipes, repeats) [s] and their last results."""
    times = np.zeros((len(recipes), repeats))
    results = [np.empty(0)] * len(recipes)
    for repeat in range(repeats):
        for number, recipe in enumerate(recipes):
            start = time.perf_counter()
            results[number] = recipe(*arguments)
            times[number, repeat] = time.perf_counter() - start
    return times, results


def _extra_mb(recipe: _Recipe, n: int, seed: int, mode: str) -> float:
    """Return the peak memory of one match in a fresh process, less that of its imports [MB]."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        before = pool.submit(_peak_mb).result()
        return pool.submit(_peak_after, recipe, n, seed, mode).result() - before


def _peak_after(recipe: _Recipe, n: int, seed: int, mode: str) -> float:
    recipe(*_catalogs(n, seed), mode)
    return _peak_mb()


def _peak_mb() -> float:
    """Return this process's peak memory [MB].

    From ``/proc``: ``getrusage`` of a child also counts what its parent held when it started.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    print_rows("Crossmatch against astropy (ratio: astropy's time over ours)", crossmatch_rows())
