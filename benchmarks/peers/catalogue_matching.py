"""Match catalogues by this library, astropy, LSDB and STILTS, from files to a pair file.

Each peer is a function that imports its library and returns a match function, so that imports are
not timed. A match reads the files that `write_inputs` wrote for it and returns its pair file.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

RADIUS_ARCSEC = 1.0

_MARGIN_ARCSEC = 20.0
_PARTITION_ROWS, _PARTITIONS = 500_000, 4  # at most, at least
_JAVA_HEAP = "-Xmx8g"

Match = Callable[[Path, str], Path]


def write_inputs(folder: Path, tables: Mapping[str, pa.Table], peer: str) -> None:
    """Write ``anchor`` and ``target`` in the format of a peer, unless they exist.

    Parameters
    ----------
    folder : Path
        Output folder.
    tables : mapping of str to pa.Table
        ``object_id`` (a letter and the row number), ``ra``, ``dec`` [ICRS deg].
    peer : str
        Name in `PEERS`.
    """
    for name, table in tables.items():
        if peer in ("lsdb", "ours on HATS"):
            from galaxy_da.io.hats.catalogues import to_hats

            path = folder / f"{name}_hats"
            if not path.exists():
                rows = min(_PARTITION_ROWS, len(table) // _PARTITIONS)
                to_hats(table, path, margin_arcsec=_MARGIN_ARCSEC, partition_rows=rows)
        elif peer == "stilts":
            from astropy.table import Table

            path = folder / f"{name}.fits"
            if not path.exists():
                columns = [_row_numbers(table["object_id"]), *map(np.asarray, table.columns[1:3])]
                Table(columns, names=["row", "ra", "dec"]).write(path)
        elif not (folder / f"{name}.parquet").exists():
            pq.write_table(table, folder / f"{name}.parquet")


def read_pairs(path: Path) -> np.ndarray:
    """Return the sorted row numbers of a pair file, (n_pairs, 2) int64."""
    if path.suffix == ".fits":
        from astropy.table import Table

        table = Table.read(path)
        rows = np.stack([np.asarray(table[f"row_{side}"]).astype(np.int64) for side in (1, 2)], 1)
    else:
        pairs = pq.read_table(path, columns=["anchor_id", "target_id"])
        rows = np.stack([_row_numbers(column) for column in pairs.columns], axis=1)
    return rows[np.lexsort(rows.T[::-1])]


def unavailable_reason(peer: str) -> str | None:
    """Return why a peer cannot run, or None."""
    if peer == "stilts" and not shutil.which("stilts"):
        return "stilts is not on PATH (Debian package stilts)"
    return None


def _ours() -> Match:
    from catalogs.matching import crossmatch
    from catalogs.reading import read_catalog
    from galaxy_da.io.tables import write_table

    def match(folder: Path, mode: Any) -> Path:
        tables = [read_catalog(folder / f"{name}.parquet") for name in ("anchor", "target")]
        out = folder / "ours.parquet"
        write_table(crossmatch(*tables, radius_arcsec=RADIUS_ARCSEC, mode=mode), out)
        return out

    return match


def _ours_on_hats() -> Match:
    from catalogs.hats.matching import crossmatch_hats

    def match(folder: Path, mode: Any) -> Path:
        out = folder / "ours_on_hats.parquet"
        anchor, target = folder / "anchor_hats", folder / "target_hats"
        options = {"radius_arcsec": RADIUS_ARCSEC, "mode": mode}
        crossmatch_hats(anchor, target, out, scheduler="threads", **options)
        return out

    return match


def _astropy() -> Match:
    from astropy import units as u
    from astropy.coordinates import SkyCoord, match_coordinates_sky

    def match(folder: Path, mode: str) -> Path:
        """Match from anchor to target and, for mutual pairs, back."""
        tables = [pq.read_table(folder / f"{name}.parquet") for name in ("anchor", "target")]
        a, t = (SkyCoord(x["ra"].to_numpy() * u.deg, x["dec"].to_numpy() * u.deg) for x in tables)
        to_target, separation, _ = match_coordinates_sky(a, t)
        keep = separation.arcsec <= RADIUS_ARCSEC
        if mode == "mutual":
            to_anchor, _, _ = match_coordinates_sky(t, a)
            keep &= to_anchor[to_target] == np.arange(len(a))
        rows = np.flatnonzero(keep)
        return _write_pairs(
            folder / "astropy.parquet",
            tables[0]["object_id"].take(rows),
            tables[1]["object_id"].take(to_target[rows]),
            separation.arcsec[rows],
        )

    return match


def _lsdb() -> Match:
    from galaxy_da.io.hats.libraries import using_lsdb

    with using_lsdb():
        import lsdb

    def match(folder: Path, mode: str) -> Path:
        """Match by LSDB's k-d tree; it has no mutual mode."""
        with using_lsdb():
            a, t = (lsdb.open_catalog(folder / f"{name}_hats") for name in ("anchor", "target"))
            found = a.crossmatch(
                t,
                radius_arcsec=RADIUS_ARCSEC,
                require_right_margin=True,
                suffixes=("_a", "_t"),
                suffix_method="all_columns",
            ).compute(progress_bar=False)
        columns = ("object_id_a", "object_id_t", "_dist_arcsec")
        return _write_pairs(folder / "lsdb.parquet", *(pa.array(found[name]) for name in columns))

    return match


def _stilts() -> Match:
    def match(folder: Path, mode: str) -> Path:
        """Match by ``tskymatch2``: ``find=best1`` is nearest, ``best`` greedy one to one."""
        out = folder / "stilts.fits"
        sides = [
            f"{key}{side}={value}"
            for side, name in ((1, "anchor"), (2, "target"))
            for key, value in (("in", folder / f"{name}.fits"), ("ra", "ra"), ("dec", "dec"))
        ]
        find = {"nearest": "best1", "mutual": "best"}[mode]
        command = ["stilts", _JAVA_HEAP, "tskymatch2", *sides, f"error={RADIUS_ARCSEC}"]
        command += [f"find={find}", f"out={out}", "ofmt=fits-basic"]
        subprocess.run(command, check=True, capture_output=True)
        return out

    return match


PEERS: dict[str, Callable[[], Match]] = {
    "ours": _ours,
    "astropy": _astropy,
    "stilts": _stilts,
    "lsdb": _lsdb,
    "ours on HATS": _ours_on_hats,
}
"""Peers by name; the others are compared with the first."""


def _write_pairs(path: Path, anchor: Any, target: Any, separation: Any) -> Path:
    from galaxy_da.io.tables import write_table

    columns = {"anchor_id": anchor, "target_id": target, "separation_arcsec": separation}
    write_table(pa.table(columns), path)
    return path


def _row_numbers(ids: pa.ChunkedArray) -> np.ndarray:
    """Return the numbers of ids such as ``a17``."""
    return np.asarray(pc.utf8_slice_codeunits(ids, start=1).cast(pa.int64()))
