"""Match catalogues too large for one machine: HATS partitions on Dask.

Each pixel that both catalogues share is one task: its anchors and targets, and enough of their
margins, go through `catalogs.matching.crossmatch`.

For a radius r, an anchor's candidates lie within r of the pixel, and their own candidates within
2r. If separations are equal, a mutual pair also depends on the other pairs of those: up to 3r for
targets and 4r for anchors. With margins that wide, pairs do not depend on the partitions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.hats.pixels import PixelMatch, Side, Total, match_pixel
from catalogs.matching.identity import refuse_same_ids
from catalogs.matching.settings import MatchSettings, Mode
from catalogs.reading.columns import find_ids
from galaxy_da.cluster.scheduling import running
from galaxy_da.errors import CatalogError
from galaxy_da.io.files import atomic_path
from galaxy_da.io.hats.catalogues import align_pixels, delayed_partitions, open_hats
from galaxy_da.io.hats.libraries import using_lsdb
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.io.tables import with_metadata

_MARGIN_RADII = {"mutual": (4, 3), "nearest": (2, 1), "all": (2, 1)}  # of anchors, of targets


def margins_arcsec(radius_arcsec: float, mode: Mode) -> tuple[float, float]:
    """Return the widths that the margins of anchors and targets must have [arcsec]."""
    anchors, targets = _MARGIN_RADII[mode]
    return anchors * radius_arcsec, targets * radius_arcsec


def crossmatch_hats(
    anchor_path: PathOrUrl,
    target_path: PathOrUrl,
    out: PathOrUrl,
    settings: MatchSettings | None = None,
    *,
    scheduler: str | None = None,
    object_ids: tuple[str | None, str | None] = (None, None),
    **options: Any,
) -> dict[str, Any]:
    """Pair two HATS catalogues by position, partition by partition.

    The pairs are those of `catalogs.matching.crossmatch`, but in order of the sky. Among equal
    separations the first on the sky wins (HEALPix order 29, then ``object_id``).

    Parameters
    ----------
    anchor_path, target_path : path or URL
        HATS catalogues or collections with margins of `margins_arcsec`, ICRS; visible to the
        workers.
    out : path or URL
        Parquet pair table to write: a row group for each partition, never the whole in memory.
    settings : MatchSettings, optional
        Settings of the match; only inner matches, without a smallest radius or sigmas. The
        false-match rate is measured ``n_offsets`` times in all, at least twice in each partition.
    scheduler : str, optional
        As for `galaxy_da.cluster.scheduling.running`.
    object_ids : (str, str), optional
        Id columns of both; by default recognised as by `catalogs.reading.read_catalog`.
    **options
        Fields of `MatchSettings` in place of those of `settings`.

    Returns
    -------
    dict
        The table's metadata, as of `crossmatch`. The offset of the targets is the mean over
        partitions of their medians, by pairs. The false-match rate and the expected false pairs are
        weighted by anchors; they are too small if partitions are only a few shifts wide.
    """
    settings = replace(settings or MatchSettings(), **options)
    if settings.min_radius_arcsec or settings.sigmas is not None or settings.how != "inner":
        raise ValueError(
            "partitions are matched without min_radius_arcsec and sigmas, and with how='inner'"
        )
    widths = margins_arcsec(settings.radius_arcsec, settings.mode)
    with using_lsdb():
        import dask

        anchor, target = (
            _open(str(path), width, object_id)
            for path, width, object_id in zip(
                (anchor_path, target_path), widths, object_ids, strict=True
            )
        )
        near, far = anchor.catalogue, target.catalogue
        parts = [delayed_partitions(part) for part in (near, near.margin, far, far.margin)]
        aligned = list(align_pixels(near, far))
        if not aligned:
            raise CatalogError(f"{anchor_path} and {target_path}: no partitions overlap")
        in_pixel = replace(settings, n_offsets=max(2, -(-settings.n_offsets // len(aligned))))
        match = dask.delayed(match_pixel, pure=False)
        sides = [anchor.side, target.side]
        tasks = (
            match(
                [part.get(at) for part, at in zip(parts, (here, here, there, there), strict=True)],
                pixel,
                (pixel == here, pixel == there),
                sides,
                in_pixel,
            )
            for here, there, pixel in aligned
        )
        head = {
            "radius_arcsec": float(settings.radius_arcsec),
            "mode": settings.mode,
            "how": "inner",
            "engine": "dask",
            "n_partitions": len(aligned),
            "n_anchor": anchor.n_rows,
            "n_target": target.n_rows,
        }
        with atomic_path(out) as temporary, running(scheduler) as run:
            metadata = _write(run.in_order(tasks), temporary, head)
            if not metadata["n_pairs"]:
                raise CatalogError(
                    f"no pairs within {settings.radius_arcsec:g} arcsec; check the radius, that "
                    "both are ICRS degrees, and that both cover the same field"
                )
            if not settings.allow_same_survey:
                refuse_same_ids(metadata["n_same_id"], metadata["n_pairs"])
    return metadata


class _Opened(NamedTuple):
    """One of the catalogues."""

    catalogue: Any
    side: Side

    @property
    def n_rows(self) -> int:
        return int(self.catalogue.hc_structure.catalog_info.total_rows)


def _open(path: str, margin_arcsec: float, object_id: str | None) -> _Opened:
    """Open a catalogue with the columns that a match needs."""
    catalogue = open_hats(path, margin_arcsec)
    names = list(catalogue.columns)
    info = catalogue.hc_structure.catalog_info
    ids = find_ids(names, object_id, path)
    if not ids:
        raise CatalogError(
            f"{path}: there is no column of ids; it has {', '.join(names[:20])}; say which to use"
        )
    labels = [name for name in ("survey",) if name in names]
    columns = list(dict.fromkeys([info.ra_column, info.dec_column, *ids, *labels]))
    side = Side(path, info.ra_column, info.dec_column, ids, margin_arcsec)
    return _Opened(open_hats(path, margin_arcsec, columns), side)


def _write(
    parts: Iterable[PixelMatch], path: os.PathLike[str], head: dict[str, Any]
) -> dict[str, Any]:
    """Write pairs as they come, and return the metadata, also written."""
    total = Total()
    writer: pq.ParquetWriter | None = None
    try:
        for part in parts:
            writer = writer or pq.ParquetWriter(path, part.pairs.schema, compression="zstd")
            if len(part.pairs):
                writer.write_table(part.pairs)
            total.add(part)
        metadata = head | total.metadata(head["n_anchor"])
        metadata["n_anchor_unmatched"] = head["n_anchor"] - total.n_anchor_matched
        if head["mode"] == "mutual":  # else a target may have anchors in several partitions
            metadata["n_target_unmatched"] = head["n_target"] - total.n_pairs
        if writer is not None:
            described = with_metadata(pa.table({}), metadata)
            writer.add_key_value_metadata(described.schema.metadata)
    finally:
        if writer is not None:
            writer.close()
    return metadata
