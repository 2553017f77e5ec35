"""Extract features from coadded tiles and a catalogue, without cutouts on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from galaxy_da.errors import CutoutError
from galaxy_da.extraction.encoding import ExtractSettings, SampleEncoder
from galaxy_da.extraction.parts import extraction_plan, write_parts
from galaxy_da.extraction.pipeline import feature_parts
from galaxy_da.extraction.prefetch import parallel_map
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.tiles import Mosaic
from galaxy_da.io.features import Features
from galaxy_da.io.files import json_hash, output_folder
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.io.tables import check_columns
from galaxy_da.space import LatentSpace

__all__ = ["extract_mosaic"]

_BATCH_ROWS = 64
_PREFETCHED = 4
_DEFAULTS = ExtractSettings()
_OF_A_CUTOUT = ("survey", "cutout", "image", "bands", "pixel_scale_arcsec", "status", "message")


def extract_mosaic(
    space: LatentSpace,
    mosaic: Mosaic,
    catalog: pa.Table,
    out: PathOrUrl,
    settings: ExtractSettings = _DEFAULTS,
) -> Features:
    """Encode every object of a catalogue from the tiles of one survey.

    Each tile is read once. Rows outside every tile have the status ``outside_footprint``.

    Parameters
    ----------
    space : LatentSpace
        Space to encode into.
    mosaic : Mosaic
        Tiles, and the side of a cutout.
    catalog : pa.Table
        ``object_id``, ``ra`` and ``dec`` [ICRS deg], and any other columns, which are kept but for
        those that describe another cutout.
    out : path or URL
        Folder for the features; an unfinished extraction there is continued.
    settings : ExtractSettings
        Precision, own survey definitions, reconstruction.

    Returns
    -------
    Features
        One row per row of the catalogue, ordered by tile.

    Raises
    ------
    TableError
        If a column is missing, or `out` holds the features of another extraction.
    SurveyError
        If there are no tiles, or one has no WCS.
    StorageError
        If the output cannot be written; finished parts stay.
    """
    check_columns(catalog, ("object_id", "ra", "dec"), "catalogue")
    kept = [name for name in catalog.column_names if name not in _OF_A_CUTOUT]
    rows = catalog.select(kept)
    rows = rows.set_column(
        kept.index("object_id"), "object_id", rows["object_id"].cast(pa.string())
    )
    rows = rows.add_column(1, "survey", pa.array([mosaic.survey.name] * len(rows), pa.string()))
    ra, dec = (
        np.asarray(rows[name].cast(pa.float64()).fill_null(np.nan)) for name in ("ra", "dec")
    )
    number = mosaic.assign(ra, dec)
    order = np.argsort(number, kind="stable")
    rows, number = rows.take(pa.array(order)), number[order]
    own = (*settings.surveys, mosaic.survey)
    encoder = SampleEncoder(space, [mosaic.survey.name], replace(settings, surveys=own))
    parts_from = feature_parts(
        encoder, rows, lambda start: _read(mosaic, rows, number, start), settings.progress
    )
    states = [path.stat() for tile in mosaic.tiles for path in tile.paths()]
    plan = {
        **extraction_plan(space, encoder.hashes, settings),
        "readings": encoder.readings,
        "mosaic": mosaic.files,
        "side_arcsec": mosaic.side_arcsec,
        "tiles": json_hash([[state.st_size, state.st_mtime_ns] for state in states]),
        "sample": json_hash(
            [rows["object_id"].to_pylist(), ra.tobytes().hex(), dec.tobytes().hex()]
        ),
    }
    write_parts(output_folder(out), plan, len(rows), parts_from)
    return Features.open(out)


def _read(
    mosaic: Mosaic, rows: pa.Table, number: np.ndarray, start: int
) -> Iterator[tuple[pa.Table, list[Cutout | CutoutError]]]:
    """Yield batches of rows of one tile each, with their cutouts."""

    def cut(span: tuple[int, int]) -> tuple[pa.Table, list[Cutout | CutoutError]]:
        batch = rows.slice(span[0], span[1] - span[0])
        names = [n for n in ("ra", "dec", "psf_fwhm_arcsec") if n in batch.column_names]
        return batch, mosaic.cutouts(int(number[span[0]]), batch.select(names).to_pylist())

    edges = [*(np.flatnonzero(np.diff(number)) + 1).tolist(), len(rows)]
    spans, low = [], start
    for edge in edges:
        while low < edge:
            spans.append((low, min(low + _BATCH_ROWS, edge)))
            low = spans[-1][1]
    yield from parallel_map(cut, spans, threads=1, prefetch=_PREFETCHED)
