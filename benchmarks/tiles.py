"""Compare cutting galaxies out of tiles with astropy's Cutout2D and with ESA's cutana.

``python -m benchmarks.tiles [--galaxies N] [--cutana PYTHON]`` draws tiles, cuts the same galaxies
out of them by each, from files to pixels in memory, and compares the pixels. cutana needs an older
ipykernel than ours, so it may live in a Python of its own:
``python -m venv peer; peer/bin/pip install cutana``, then ``--cutana peer/bin/python``, or the
variable ``CUTANA_PYTHON``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers import cutana_cutting
from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.errors import CutoutError
from galaxy_da.extraction.mosaic import cut_batches
from galaxy_da.images.tiles import Mosaic
from galaxy_da.surveys import get_survey

CUTANA_PYTHON = os.environ.get("CUTANA_PYTHON", sys.executable)

PEERS = ("ours", "astropy", "cutana")

_TITLE = "Cutting g, r, z out of tiles (ratio: the peer's time over ours; same: share of pixels)"
_SCALE_ARCSEC = 0.262
_OVERLAP_ARCSEC = 60.0  # of neighbouring tiles; at least a side of a cutout
_CHECKED = 200
_FILES = "brick*-image-{band}.fits"


def tile_rows(
    galaxies: int = 2000,
    repeats: int = 5,
    seed: int = 1,
    *,
    sides: Sequence[float] = (17.0, 40.0),
    tile_px: int = 2400,
    tiles: int = 2,
    python: str = CUTANA_PYTHON,
) -> list[dict[str, Any]]:
    """Measure each peer on the same tiles and galaxies.

    Parameters
    ----------
    galaxies : int
        Galaxies, uniform over the tiles, whose cutouts lie inside.
    repeats : int
        Alternating runs, each after one to warm up, for medians.
    seed : int
        Seed of tiles and positions.
    sides : sequence of float
        Sides of a cutout, up to 60 [arcsec].
    tile_px : int
        Side of a tile.
    tiles : int
        Number of tiles.
    python : str
        Python that has cutana.

    Returns
    -------
    list of dict
        By side and peer: ``cutouts_per_s``, processor time ``cpu_s``, ``ratio`` and ``cpu_ratio``
        to ours, ``same``, the share of pixels equal to ours where both windows overlap, and
        ``note``, the reason why a peer did not run.
    """
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side in sides:
            _draw(folder, galaxies, seed, side, tile_px, tiles)
            rows += _rows_of(folder, side, repeats, python)
    return rows


def _rows_of(folder: Path, side: float, repeats: int, python: str) -> list[dict[str, Any]]:
    reason = _missing(python)
    peers = [peer for peer in PEERS if peer != "cutana" or not reason]
    runs: dict[str, list[tuple[float, float]]] = {peer: [] for peer in peers}
    for _ in range(repeats):
        for peer in peers:
            if peer == "cutana":
                runs[peer].append(_run_cutana(folder, python))
            else:
                runs[peer].append(_run(peer, folder, side))
    n = pq.read_metadata(folder / "galaxies.parquet").num_rows
    ours = np.median(runs["ours"], axis=0)
    rows = []
    for peer in PEERS:
        row: dict[str, Any] = {"side_arcsec": side, "peer": peer}
        if peer not in runs:
            rows.append({**row, "note": reason})
            continue
        wall_s, cpu_s = np.median(runs[peer], axis=0)
        row |= {"cutouts_per_s": n / wall_s, "cpu_s": cpu_s, "ratio": wall_s / ours[0]}
        row |= {"cpu_ratio": cpu_s / ours[1], "same": _same(folder, peer), "note": ""}
        rows.append(row)
    return rows


def _missing(python: str) -> str:
    """Return why cutana cannot run, or nothing."""
    found = subprocess.run([python, "-c", "import cutana"], capture_output=True, text=True)
    return "" if found.returncode == 0 else f"cutana is not installed in {Path(python).name}"


def _run_cutana(folder: Path, python: str) -> tuple[float, float]:
    script = Path(cutana_cutting.__file__)
    words = f"import sys; sys.path.insert(0, {str(script.parent)!r}); import {script.stem} as peer"
    command = [python, "-c", f"{words}; peer.main()", str(folder), str(_CHECKED)]
    found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    times = json.loads(found.stdout.splitlines()[-1])
    return times["wall_s"], times["cpu_s"]


def _run(peer: str, folder: Path, side: float) -> tuple[float, float]:
    """Cut twice; return wall and processor time of the second run."""
    rows = pq.read_table(folder / "galaxies.parquet")
    cut = {"ours": _cut, "astropy": _cut_by_astropy}[peer]
    for _ in range(2):
        start = time.perf_counter(), time.process_time()
        cut(folder, rows, side)
        times = time.perf_counter() - start[0], time.process_time() - start[1]
    pixels, origins = cut(folder, rows.slice(0, _CHECKED), side)
    np.savez(folder / f"{peer}.npz", pixels=np.stack(pixels), origin_xy=np.array(origins))
    return times


def _mosaic(folder: Path, side: float) -> Mosaic:
    return Mosaic(files=str(folder / _FILES), survey=get_survey("decals"), side_arcsec=side)


def _cut(folder: Path, rows: pa.Table, side: float) -> tuple[list[Any], list[Any]]:
    """Cut as `extract --mosaic` does; the pixels and places of few rows are returned."""
    mosaic = _mosaic(folder, side)
    number = mosaic.assign(rows["ra"].to_numpy(), rows["dec"].to_numpy())
    order = np.argsort(number, kind="stable")
    kept: list[Any] = [None] * len(rows)
    low = 0
    for batch, cutouts in cut_batches(mosaic, rows.take(order), number[order], threads=2):
        if len(rows) <= _CHECKED:
            for k, cutout in zip(order[low : low + len(batch)], cutouts, strict=True):
                kept[k] = cutout
        low += len(batch)
    if len(rows) > _CHECKED:
        return [], []
    found: list[Any] = []
    for tile, row in zip(number.tolist(), rows.to_pylist(), strict=True):
        [sections] = mosaic.sections(tile, [row])
        found += [] if isinstance(sections, CutoutError) else sections
    assert all(np.array_equal(c.pixels, s.pixels) for c, s in zip(kept, found, strict=True))
    return [section.pixels for section in found], [section.origin_xy for section in found]


def _cut_by_astropy(folder: Path, rows: pa.Table, side: float) -> tuple[list[Any], list[Any]]:
    """Cut by Cutout2D from mapped files, without calibration, masks or places."""
    from astropy.io import fits
    from astropy.nddata import Cutout2D
    from astropy.wcs import WCS

    mosaic = _mosaic(folder, side)
    number = mosaic.assign(rows["ra"].to_numpy(), rows["dec"].to_numpy())
    size = round(side / _SCALE_ARCSEC)
    pixels: list[Any] = [None] * len(rows)
    origins = pixels.copy()
    for tile in np.unique(number):
        own = np.flatnonzero(number == tile).tolist()
        with ExitStack() as stack:
            paths = mosaic.tiles[tile].images.values()
            hdus = [stack.enter_context(fits.open(path))[0] for path in paths]
            wcs = WCS(hdus[0].header)
            places = wcs.all_world2pix(*(rows[n].to_numpy()[own] for n in ("ra", "dec")), 0)
            for k, place in zip(own, zip(*places, strict=True), strict=True):
                cuts = [Cutout2D(hdu.data, place, size) for hdu in hdus]
                cube = np.stack([cut.data for cut in cuts]).astype(np.float32)
                if len(rows) <= _CHECKED:
                    pixels[k], origins[k] = cube, cuts[0].origin_original
    return pixels, origins


def _same(folder: Path, peer: str) -> float:
    """Return the share of pixels that equal ours, where both windows overlap."""
    ours, theirs = (np.load(folder / f"{name}.npz") for name in ("ours", peer))
    equal, total = 0, 0
    parts = (ours["pixels"], theirs["pixels"], theirs["origin_xy"] - ours["origin_xy"])
    for a, b, (dx, dy) in zip(*parts, strict=True):
        height, width = a.shape[1] - abs(dy), a.shape[2] - abs(dx)
        one = a[:, max(dy, 0) :, max(dx, 0) :][:, :height, :width]
        two = b[:, max(-dy, 0) :, max(-dx, 0) :][:, :height, :width]
        equal, total = equal + int((one == two).sum()), total + one.size
    return equal / total


def _draw(folder: Path, n: int, seed: int, side: float, tile_px: int, tiles: int) -> None:
    """Write tiles of noise, galaxies whose cutouts lie inside, and cutana's catalogue."""
    from astropy.io import fits
    from astropy.wcs import WCS

    rng = np.random.default_rng(seed)
    width = tile_px * _SCALE_ARCSEC / 3600
    step = width - _OVERLAP_ARCSEC / 3600
    for tile in range(tiles):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.crval = 150 + tile * step, 2.0
        wcs.wcs.crpix = (tile_px + 1) / 2, (tile_px + 1) / 2
        wcs.wcs.cdelt = -_SCALE_ARCSEC / 3600, _SCALE_ARCSEC / 3600
        header = wcs.to_header()
        header["BUNIT"] = "nanomaggy"
        for band in "grz":
            path = folder / f"brick{tile}-image-{band}.fits"
            if not path.exists():
                sky = rng.normal(0, 0.02, (tile_px, tile_px)).astype(np.float32)
                fits.PrimaryHDU(sky, header).writeto(path)
    half = width / 2 - side / 3600
    ra = 150 + rng.uniform(-half, half + step * (tiles - 1), n)
    dec = 2 + rng.uniform(-half, half, n)
    ids = [f"g{k}" for k in range(n)]
    pq.write_table(pa.table({"object_id": ids, "ra": ra, "dec": dec}), folder / "galaxies.parquet")
    mosaic = _mosaic(folder, side)
    paths = [str([str(path) for path in tile.images.values()]) for tile in mosaic.tiles]
    columns = {
        "SourceID": ids,
        "RA": ra,
        "Dec": dec,
        "diameter_pixel": [round(side / _SCALE_ARCSEC)] * n,
        "fits_file_paths": [paths[k] for k in mosaic.assign(ra, dec)],
    }
    pq.write_table(pa.table(columns), folder / "cutana.parquet")


def main() -> None:
    """Print one table."""
    parser = command_parser("tiles", __doc__)
    parser.add_argument("--galaxies", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tile-px", type=int, default=2400, help="side of a tile")
    parser.add_argument("--cutana", default=CUTANA_PYTHON, help="Python that has cutana")
    given = parser.parse_args()
    rows = tile_rows(given.galaxies, given.repeats, tile_px=given.tile_px, python=given.cutana)
    print_rows(_TITLE, rows)


if __name__ == "__main__":
    main()
