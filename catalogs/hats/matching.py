"""The crossmatch of catalogues too large for one machine: HATS partitions, matched by Dask.

LSDB reads the partitions, HATS aligns their pixels, and each aligned pixel is one task: its anchors
and targets, with enough of their margins, go through `catalogs.matching.positions.crossmatch`
itself.

How much is enough, for a radius r: an anchor's candidates lie within r of the pixel, and their own
candidates within 2r. Whether a mutual pair is kept when separations are equal depends on what those
pair with instead, up to 3r for targets and 4r for anchors. With margins that wide, a pair is the
same whatever the partitions are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.hats.catalogues import open_hats
from catalogs.hats.pixels import PixelMatch, Reading, Total, match_pixel
from catalogs.matching.positions import MAX_RADIUS_ARCSEC, Mode
from catalogs.reading.columns import find_ids
from galaxy_da.cluster.scheduling import running
from galaxy_da.errors import CatalogError
from galaxy_da.io.files import atomic_path
from galaxy_da.io.quiet import quiet_lsdb
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.io.tables import with_metadata

if TYPE_CHECKING:
    from dask.delayed import Delayed
    from hats.pixel_math import HealpixPixel
    from lsdb import Catalog

__all__ = ["crossmatch_hats", "margins_arcsec"]

_MARGIN_RADII = {"mutual": (4, 3), "nearest": (2, 1), "all": (2, 1)}  # of anchors, of targets


def margins_arcsec(radius_arcsec: float, mode: Mode) -> tuple[float, float]:
    """Return how wide the margins of anchors and targets have to be [arcsec]."""
    anchors, targets = _MARGIN_RADII[mode]
    return anchors * radius_arcsec, targets * radius_arcsec


def crossmatch_hats(
    anchor_path: PathOrUrl,
    target_path: PathOrUrl,
    *,
    radius_arcsec: float = 1.0,
    mode: Mode = "mutual",
    out: PathOrUrl,
    scheduler: str | None = None,
    anchor_id: str | None = None,
    target_id: str | None = None,
    n_offsets: int = 20,
    seed: int = 0,
    allow_same_survey: bool = False,
) -> dict[str, Any]:
    """Pair two HATS catalogues by position, partition by partition.

    The pairs are those of `catalogs.matching.positions.crossmatch`, but in order of the sky,
    and among
    equal separations the first on the sky wins (HEALPix order 29, then ``object_id``).

    Parameters
    ----------
    anchor_path, target_path : path
        HATS catalogues or collections with margins of `margins_arcsec`, ICRS; local paths or URLs
        that the workers see too.
    radius_arcsec : float
        Largest separation of a pair, included [arcsec].
    mode : {"mutual", "nearest", "all"}
        Which pairs to keep.
    out : path
        Parquet pair table to write: a row group for each partition, never the whole in memory.
    scheduler : str, optional
        Address of a Dask scheduler, such as ``tcp://host:8786``; or ``threads`` or ``synchronous``,
        in this process. By default a cluster of processes on this machine.
    anchor_id, target_id : str, optional
        The columns of ids; by default recognised as in `catalogs.reading.catalogue.read_catalog`.
    n_offsets : int
        How often the false-match rate is measured in all; at least 2 in each partition.
    seed : int
        Of the random offsets.
    allow_same_survey : bool
        Accept two observations of one survey.

    Returns
    -------
    dict
        The table's metadata, as of `crossmatch`: match parameters, numbers of rows and pairs, the
        offset of the targets (mean over partitions of their medians, by pairs), and the
        false-match rate and expected false pairs. Those are measured within each partition and
        weighted by its anchors; anchors moved out of a partition only a few shifts wide make them
        too small.

    Raises
    ------
    ValueError
        If the radius or mode is out of range.
    CatalogError
        If a catalogue, its ids or a wide enough margin is missing, the two sides are one survey, or
        nothing pairs.
    ClusterError
        If the scheduler or all workers that take a partition are lost.
    TableError
        If an ``object_id`` is repeated within a partition.
    StorageError
        If `out` cannot be written.
    """
    if mode not in _MARGIN_RADII:
        raise ValueError(f"mode must be one of {', '.join(_MARGIN_RADII)} but is {mode!r}")
    if not 0 < radius_arcsec <= MAX_RADIUS_ARCSEC:
        raise ValueError(
            f"radius_arcsec must be in (0, {MAX_RADIUS_ARCSEC:g}] but is {radius_arcsec}"
        )
    widths = margins_arcsec(radius_arcsec, mode)
    anchor = _open(str(anchor_path), widths[0], anchor_id)
    target = _open(str(target_path), widths[1], target_id)
    with quiet_lsdb():
        import dask

        tasks = list(_align(anchor, target))
        if not tasks:
            raise CatalogError(f"{anchor_path} and {target_path}: no partitions overlap")
        options = {
            "radius_arcsec": radius_arcsec,
            "mode": mode,
            "seed": seed,
            "n_offsets": max(2, -(-n_offsets // len(tasks))),
        }
        match = dask.delayed(match_pixel, pure=False)
        readings = [anchor.reading, target.reading]
        head = {
            "radius_arcsec": float(radius_arcsec),
            "mode": mode,
            "how": "inner",
            "engine": "dask",
            "n_partitions": len(tasks),
            "n_anchor": anchor.n_rows,
            "n_target": target.n_rows,
        }
        with atomic_path(out) as temporary, running(scheduler) as run:
            parts = run.in_order(
                match(*task.rows, task.pixel, task.is_whole, readings, options, allow_same_survey)
                for task in tasks
            )
            metadata = _write(parts, temporary, head)
            _check_pairs(metadata, allow_same_survey)
    return metadata


class _Side(NamedTuple):
    """One of the catalogues."""

    catalog: Catalog
    reading: Reading

    @property
    def n_rows(self) -> int:
        return int(self.catalog.hc_structure.catalog_info.total_rows)


class _Task(NamedTuple):
    """One aligned pixel, the finer of its anchors' and its targets'."""

    pixel: HealpixPixel
    is_whole: tuple[bool, bool]  # whether it is the anchors', and the targets', partition
    rows: list[Delayed | None]  # anchors, their margin, targets, their margin


def _open(path: str, margin_arcsec: float, object_id: str | None) -> _Side:
    """Open a catalogue with the columns a match needs."""
    catalog = open_hats(path, margin_arcsec)
    names = list(catalog.columns)
    info = catalog.hc_structure.catalog_info
    ids = find_ids(names, object_id, path)
    if not ids:
        raise CatalogError(
            f"{path}: there is no column of ids; it has {', '.join(names[:20])}; say which to use"
        )
    labels = [name for name in ("survey",) if name in names]
    columns = list(dict.fromkeys([info.ra_column, info.dec_column, *ids, *labels]))
    catalog = open_hats(path, margin_arcsec, columns)
    return _Side(catalog, Reading(path, info.ra_column, info.dec_column, ids, margin_arcsec))


def _align(anchor: _Side, target: _Side) -> Iterator[_Task]:
    """Pair the pixels of both sides where targets, or targets' margins, meet anchors."""
    from hats.pixel_math import HealpixPixel
    from hats.pixel_tree import PixelAlignmentType, align_trees

    near, far = anchor.catalog, target.catalog
    trees = [part.hc_structure.pixel_tree for part in (near, far, far.margin)]
    covered = align_trees(*trees[1:], alignment_type=PixelAlignmentType.OUTER).pixel_tree
    aligned = align_trees(trees[0], covered, alignment_type=PixelAlignmentType.INNER)
    parts = [_partitions(part) for part in (near, near.margin, far, far.margin)]
    columns = [
        f"{side}_{what}" for side in ("primary", "join", "aligned") for what in ("Norder", "Npix")
    ]
    for row in aligned.pixel_mapping[columns].astype(np.int64).itertuples(index=False):
        here, there, pixel = (HealpixPixel(*row[k : k + 2]) for k in (0, 2, 4))
        rows = [part.get(at) for part, at in zip(parts, (here, here, there, there), strict=True)]
        yield _Task(pixel, (pixel == here, pixel == there), rows)


def _partitions(catalog: Any) -> dict[HealpixPixel, Delayed]:
    """Return a catalogue's partitions, each with its own task only."""
    from dask.delayed import Delayed

    return {
        pixel: Delayed(part.key, {part.key: part.dask[part.key]})
        for pixel, part in zip(
            catalog.get_ordered_healpix_pixels(), catalog.to_delayed(), strict=True
        )
    }


def _write(
    parts: Iterable[PixelMatch], path: os.PathLike[str], head: dict[str, Any]
) -> dict[str, Any]:
    """Write pairs as they come, and the metadata, which are returned."""
    total = Total()
    writer: pq.ParquetWriter | None = None
    try:
        for part in parts:
            writer = writer or pq.ParquetWriter(path, part.pairs.schema, compression="zstd")
            if len(part.pairs):
                writer.write_table(part.pairs)
            total.add(part)
        metadata = head | total.metadata(head["n_anchor"])
        if writer is not None:
            described = with_metadata(pa.table({}), metadata)
            writer.add_key_value_metadata(described.schema.metadata)
    finally:
        if writer is not None:
            writer.close()
    return metadata


def _check_pairs(metadata: dict[str, Any], allow_same_survey: bool) -> None:
    """Refuse no pairs, and pairs most of which join equal ids."""
    n_pairs, n_same = metadata["n_pairs"], metadata["n_same_id"]
    if not n_pairs:
        raise CatalogError(
            f"no pairs within {metadata['radius_arcsec']:g} arcsec; check the radius, that both "
            "are ICRS degrees, and that both cover the same field"
        )
    if n_same > n_pairs / 2 and not allow_same_survey:
        raise CatalogError(
            f"{n_same} of {n_pairs} pairs join rows of the same object_id, so anchor and target "
            "look like one survey; give two surveys, or allow_same_survey (--repeat) if they share "
            "ids or are repeat observations of one"
        )
