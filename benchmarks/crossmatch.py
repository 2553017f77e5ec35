"""Crossmatch against astropy, STILTS and LSDB: time, peak memory and agreement at growing size.

``python -m benchmarks.crossmatch [ROWS ...] [MODE ...] [PEER ...]`` prints a table for
each size as it is done, and each run on stderr; by default all sizes, modes and peers. Each peer
goes from files to a pair file, in a fresh process of its own, with all cores. Not timed are imports
and compiling (a small match goes first), the start of Java, and the making of the files: for LSDB a
HATS catalogue with its margin. Ours also checks ids, counts rivals and measures the false-match
rate. LSDB knows no mutual pairs; STILTS's best pairs are chosen greedily, so that they hold the
mutual ones and a few more, whose nearest was taken.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.peers.catalogue_matching import PEERS, read_pairs, why_not, write_inputs
from benchmarks.support.measuring import alone, clocks, peak_gib
from benchmarks.support.tables import print_rows

__all__ = ["TITLE", "catalogs", "crossmatch_rows"]

TITLE = "Crossmatch, from files to a pair file (ratio: the peer's time over ours)"

DENSITY_PER_DEG2 = 1000.0
JITTER_ARCSEC = 0.2
SHARE_IN_COMMON = 0.8
_SOUTH_DEG, _NORTH_DEG, _WEST_DEG = -20.0, 30.0, 350.0  # a field across RA 0
_REPEATED_ROWS = 1_000_000  # larger matches run once
_SMALL_ROWS = 1000
_ONLY_NEAREST = ("lsdb",)
_SIZES, _MODES = (100_000, 1_000_000, 10_000_000), ("nearest", "mutual")


def crossmatch_rows(
    sizes: Sequence[int] = _SIZES,
    repeats: int = 3,
    seed: int = 1,
    *,
    modes: Sequence[str] = _MODES,
    peers: Sequence[str] = tuple(PEERS),
) -> Iterator[list[dict[str, Any]]]:
    """Measure every peer that is here, on the same catalogues.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each catalogue, at `DENSITY_PER_DEG2` on the sky.
    repeats : int
        Runs of up to a million rows, in turns; the medians are reported. Larger ones run once.
    seed : int
        Of the catalogues.
    modes : sequence of str
        Out of ``nearest`` and ``mutual``.
    peers : sequence of str
        Out of `PEERS`; ours is always among them.

    Yields
    ------
    list of dict
        Of each size, a row for each mode and peer: ``n``, ``mode``, ``peer``, ``time_s``,
        ``cpu_s``, ``ratio`` to ours, ``growth`` over the peer's time at the size before,
        ``peak_gib`` of the whole process, ``n_pairs``, ``missing`` and ``extra`` pairs beside ours,
        and ``note``: why a peer did not run.
    """
    chosen = [peer for peer in PEERS if peer in ("ours", *peers)]
    before: dict[tuple[str, str], float] = {}
    for n in sizes:
        rows: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as name:
            for mode in modes:
                rows += _rows_of(n, mode, chosen, Path(name), repeats, seed)
        for row in rows:
            key = row["mode"], row["peer"]
            row["growth"] = row["time_s"] / before.get(key, np.nan)
            before[key] = row["time_s"]
        yield rows


def _rows_of(
    n: int, mode: str, chosen: Sequence[str], folder: Path, repeats: int, seed: int
) -> list[dict[str, Any]]:
    """Measure peers on one size and mode."""
    peers = [peer for peer in chosen if mode == "nearest" or peer not in _ONLY_NEAREST]
    reasons = {peer: why_not(peer) for peer in peers}
    here = [peer for peer in peers if not reasons[peer]]
    for peer in here:
        alone(_prepare, folder, n, seed, peer)
        alone(_prepare, folder / "small", _SMALL_ROWS, seed, peer)
    runs: dict[str, list[tuple[float, float, float]]] = {peer: [] for peer in here}
    for _ in range(repeats if n <= _REPEATED_ROWS else 1):
        for peer in here:
            runs[peer].append(alone(_measure, peer, folder, mode))
            said = "{:.3g} s, {:.3g} s of all cores, {:.3g} GiB".format(*runs[peer][-1])
            print(f"{n} rows, {mode}, {peer}: {said}", file=sys.stderr, flush=True)
    medians = {peer: np.median(runs[peer], axis=0) for peer in here}
    ours = np.load(folder / "ours.npy")
    rows = []
    for peer in peers:
        time_s, cpu_s, peak_gib = medians.get(peer, np.full(3, np.nan))
        row = {"n": n, "mode": mode, "peer": peer, "time_s": time_s, "cpu_s": cpu_s}
        row |= {"ratio": time_s / medians["ours"][0], "peak_gib": peak_gib}
        theirs = np.load(folder / f"{peer}.npy") if peer in here else ours[:0]
        both = len(np.intersect1d(ours, theirs, assume_unique=True))
        row |= {"n_pairs": len(theirs), "missing": len(ours) - both, "extra": len(theirs) - both}
        rows.append({**row, "note": reasons[peer] or ""})
    return rows


def _prepare(folder: Path, n: int, seed: int, peer: str) -> None:
    names = ("anchor", "target")
    folder.mkdir(exist_ok=True)
    write_inputs(folder, dict(zip(names, catalogs(n, seed), strict=True)), peer)


def _measure(peer: str, folder: Path, mode: str) -> tuple[float, float, float]:
    """Return the time, time of all cores [s] and peak memory [GiB] of one match."""
    start_s = np.zeros(2)
    if peer == "stilts":
        start_s -= clocks()
        subprocess.run(["stilts", "-version"], check=True, capture_output=True)
        start_s += clocks()
    match = PEERS[peer]()
    match(folder / "small", mode)
    began = clocks()
    out = match(folder, mode)
    time_s, cpu_s = clocks() - began - start_s
    peak = _peak_gib(peer)
    np.save(folder / f"{peer}.npy", read_pairs(out) @ [1 << 32, 1])  # one number for a pair
    return time_s, cpu_s, peak


def _peak_gib(peer: str) -> float:
    """Return the peak memory of this process, or of Java [GiB].

    ``getrusage`` of a child also counts what its parent held when it started, which for Java is
    this small process.
    """
    if peer == "stilts":
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return peak_gib()


def catalogs(n: int, seed: int) -> tuple[pa.Table, pa.Table]:
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


def _main(words: Sequence[str]) -> None:
    """Measure the sizes, modes and peers that are named, and print each size."""
    known = (*_MODES, *PEERS)
    sizes = [int(float(word)) for word in words if word not in known]
    modes, peers = ([word for word in words if word in some] for some in (_MODES, PEERS))
    for rows in crossmatch_rows(
        sizes or _SIZES, modes=modes or _MODES, peers=peers or tuple(PEERS)
    ):
        print_rows(TITLE, rows)


if __name__ == "__main__":
    _main(sys.argv[1:])
