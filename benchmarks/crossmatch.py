"""Compare crossmatch with astropy, STILTS and LSDB: time, peak memory and pairs at growing size.

``python -m benchmarks.crossmatch [ROWS ...] [MODE ...] [PEER ...]`` prints a table for each size,
and each run on stderr; by default all sizes, modes and peers. Each run goes from files to a pair
file in a fresh process on all cores. Imports, compilation (a small match runs first), the start of
Java and the writing of input files are not timed. Ours also checks ids, counts rival candidates and
measures the false-match rate. LSDB has no mutual match. STILTS chooses best pairs greedily: all
mutual pairs and a few more, whose nearest neighbour was taken.
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

from benchmarks.peers.catalogue_matching import PEERS, read_pairs, unavailable_reason, write_inputs
from benchmarks.support.commands import command_parser
from benchmarks.support.measuring import clocks, in_fresh_process, peak_gib
from benchmarks.support.tables import print_rows

_TITLE = "Crossmatch, from files to a pair file (ratio: the peer's time over ours)"

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
    """Measure every installed peer on the same catalogues.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each catalogue, at `DENSITY_PER_DEG2` on the sky.
    repeats : int
        Alternating runs of up to a million rows, for medians; larger ones run once.
    seed : int
        Seed of the catalogues.
    modes : sequence of str
        ``nearest``, ``mutual`` or both.
    peers : sequence of str
        Names in `PEERS`; ours is always measured.

    Yields
    ------
    list of dict
        For each size, a row by mode and peer: ``n``, ``mode``, ``peer``, ``time_s``, ``cpu_s``,
        ``ratio`` to ours, ``growth`` from the previous size, ``peak_gib`` of the process,
        ``n_pairs``, ``missing`` and ``extra`` pairs beside ours, and ``note``, the reason why a
        peer did not run.
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
    """Measure peers at one size and mode."""
    peers = [peer for peer in chosen if mode == "nearest" or peer not in _ONLY_NEAREST]
    reasons = {peer: unavailable_reason(peer) for peer in peers}
    installed = [peer for peer in peers if not reasons[peer]]
    for peer in installed:
        in_fresh_process(_prepare, folder, n, seed, peer)
        in_fresh_process(_prepare, folder / "small", _SMALL_ROWS, seed, peer)
    runs: dict[str, list[tuple[float, float, float]]] = {peer: [] for peer in installed}
    for _ in range(repeats if n <= _REPEATED_ROWS else 1):
        for peer in installed:
            runs[peer].append(in_fresh_process(_measure, peer, folder, mode))
            figures = "{:.3g} s, {:.3g} s of all cores, {:.3g} GiB".format(*runs[peer][-1])
            print(f"{n} rows, {mode}, {peer}: {figures}", file=sys.stderr, flush=True)
    medians = {peer: np.median(runs[peer], axis=0) for peer in installed}
    ours = np.load(folder / "ours.npy")
    rows = []
    for peer in peers:
        time_s, cpu_s, peak_gib = medians.get(peer, np.full(3, np.nan))
        row = {"n": n, "mode": mode, "peer": peer, "time_s": time_s, "cpu_s": cpu_s}
        row |= {"ratio": time_s / medians["ours"][0], "peak_gib": peak_gib}
        theirs = np.load(folder / f"{peer}.npy") if peer in installed else ours[:0]
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
    """Return the peak memory of this process, or of Java, its child [GiB]."""
    if peer == "stilts":
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return peak_gib()


def catalogs(n: int, seed: int) -> tuple[pa.Table, pa.Table]:
    """Draw an anchor, and a target that holds part of it, jittered and permuted, and other rows."""
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
    others = uniform(n - n_common)
    target_ra = np.concatenate(
        [ra[common] + jitter[0] / np.cos(np.radians(dec[common])), others[0]]
    )
    target_dec = np.concatenate([dec[common] + jitter[1], others[1]])
    order = rng.permutation(n)
    return _table("a", ra, dec), _table("t", target_ra[order], target_dec[order])


def _table(prefix: str, ra: np.ndarray, dec: np.ndarray) -> pa.Table:
    ids = np.char.add(prefix, np.arange(len(ra)).astype(str))
    return pa.table({"object_id": pa.array(ids), "ra": ra % 360, "dec": dec})


def main() -> None:
    """Print a table for each size."""
    parser = command_parser("crossmatch", __doc__)
    parser.add_argument(
        "words", nargs="*", help=f"rows, {' or '.join(_MODES)}, {', '.join(map(repr, PEERS))}"
    )
    words = parser.parse_args().words
    modes, peers = ([word for word in words if word in names] for names in (_MODES, PEERS))
    sizes = [int(float(word)) for word in words if word not in (*modes, *peers)]
    for rows in crossmatch_rows(
        sizes or _SIZES, modes=modes or _MODES, peers=peers or tuple(PEERS)
    ):
        print_rows(_TITLE, rows)


if __name__ == "__main__":
    main()
