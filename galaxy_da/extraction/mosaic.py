"""Extract features from coadded tiles and a catalogue, without cutouts on disk.

The rows are ordered by tile and written in parts of whole tiles, so that each tile is opened for
one part. Parts are written in any order, here or on workers, to the same files.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_da.errors import CutoutError, SampleWarning, TableError, first_line
from galaxy_da.extraction.encoding import ExtractSettings, SampleEncoder
from galaxy_da.extraction.parts import extraction_plan, start_or_resume
from galaxy_da.extraction.pipeline import encode_batches
from galaxy_da.extraction.prefetch import parallel_map
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.tiles import Mosaic
from galaxy_da.io.features import Features, part_path, write_header
from galaxy_da.io.files import output_folder
from galaxy_da.io.storage import Location, PathOrUrl, list_names
from galaxy_da.io.tables import check_columns, table_hash, write_table
from galaxy_da.space import LatentSpace

_BATCH_ROWS = 64
_PREFETCHED = 4
_FEWEST_ROWS, _MOST_ROWS = 2048, 16384  # of a part; a tile with more is cut into parts
_DEFAULTS = ExtractSettings()
_OF_A_CUTOUT = ("survey", "cutout", "image", "bands", "pixel_scale_arcsec", "status", "message")

_TYPES = {
    "object_id": pa.string(),
    **dict.fromkeys(("ra", "dec", "psf_fwhm_arcsec"), pa.float64()),
}

Span = tuple[int, int]
"""First row, and the one after the last."""


def extract_mosaic(
    space: LatentSpace,
    mosaic: Mosaic,
    catalog: pa.Table,
    out: PathOrUrl,
    settings: ExtractSettings = _DEFAULTS,
) -> Features:
    """Encode every object of a catalogue from the tiles of one survey.

    Each tile is opened once. Rows outside every tile have the status ``outside_footprint``.

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
        Folder for the features; an unfinished extraction there is continued, also one of
        `galaxy_da.cluster.tiles.extract_tiles`.
    settings : ExtractSettings
        Precision, own survey definitions, reconstruction.

    Returns
    -------
    Features
        One row per row of the catalogue, ordered by tile.

    Raises
    ------
    TableError
        If a column is missing or of another type, or `out` holds the features of another
        extraction.
    SurveyError
        If there are no tiles, or one has no WCS.
    StorageError
        If the output cannot be written; finished parts stay.

    Warns
    -----
    SampleWarning
        If the colours of the galaxies show a wrong zeropoint, or bands in another order.
    """
    rows, encoder = MosaicRows.of(mosaic, catalog), TileEncoder(space, mosaic, settings)
    folder, plan = output_folder(out), encoder.plan(rows)
    if not start_or_resume(folder, plan):
        missing = rows.missing(folder)
        spans = [rows.spans[k] for k in missing]
        for part, table in zip(missing, encoder.encode(rows, spans), strict=True):
            write_table(table, part_path(folder, part))
        write_header(folder, len(rows.spans), len(rows.table), plan)
    return Features.open(folder)


@dataclass(frozen=True, kw_only=True)
class MosaicRows:
    """Rows of a catalogue in order of their tiles.

    Attributes
    ----------
    table : pa.Table
        Rows, with the column ``survey``.
    number : (n,) int array
        Tile of each row, -1 for none.
    spans : list of (int, int)
        Rows of each part.
    """

    table: pa.Table
    number: np.ndarray
    spans: Sequence[Span]

    @classmethod
    def of(cls, mosaic: Mosaic, catalog: pa.Table) -> MosaicRows:
        """Order a catalogue by tile; TableError if a column is missing or of another type."""
        check_columns(catalog, ("object_id", "ra", "dec"), "catalogue")
        kept = [name for name in catalog.column_names if name not in _OF_A_CUTOUT]
        rows = _typed(catalog.select(kept))
        survey = pa.array([mosaic.survey.name] * len(rows), pa.string())
        rows = rows.add_column(1, "survey", survey)
        ra, dec = (np.asarray(rows[name].fill_null(np.nan)) for name in ("ra", "dec"))
        number = mosaic.assign(ra, dec)
        order = np.argsort(number, kind="stable")
        return cls(
            table=rows.take(pa.array(order)), number=number[order], spans=_spans(number[order])
        )

    def missing(self, folder: Location) -> list[int]:
        """Return the numbers of the parts that a folder lacks."""
        there = list_names(folder)
        return [k for k in range(len(self.spans)) if part_path(folder, k).name not in there]

    def part(self, span: Span) -> MosaicRows:
        """Return the rows of one part."""
        low, high = span
        table = self.table.take(np.arange(low, high))  # a slice would be sent with all its rows
        return MosaicRows(table=table, number=self.number[low:high], spans=[(0, high - low)])


class TileEncoder:
    """Encoder of galaxies in tiles, for any rows of a catalogue.

    Parameters
    ----------
    space, mosaic, settings
        As of `extract_mosaic`.
    """

    def __init__(self, space: LatentSpace, mosaic: Mosaic, settings: ExtractSettings) -> None:
        own = (*settings.surveys, mosaic.survey)
        self._space, self._mosaic = space, mosaic
        self._settings = replace(settings, surveys=own)

    def plan(self, rows: MosaicRows) -> dict[str, Any]:
        """Return the settings and hashes on which the features depend."""
        encoder, mosaic = self._encoder(), self._mosaic.absolute()
        return {
            **extraction_plan(self._space, encoder.hashes, self._settings),
            "readings": encoder.readings,
            "mosaic": [mosaic.files, *mosaic.planes],
            "side_arcsec": mosaic.side_arcsec,
            "tiles": mosaic.state(),
            "sample": table_hash(rows.table),
        }

    def encode(self, rows: MosaicRows, spans: Sequence[Span]) -> Iterator[pa.Table]:
        """Yield the features of each span of rows."""
        encoder, total = self._encoder(), len(rows.table)
        parts = (rows.part(span) for span in spans)
        batches = chain.from_iterable(
            cut_batches(self._mosaic, part.table, part.number) for part in parts
        )
        done = total - sum(high - low for low, high in spans)
        tables = encode_batches(encoder, batches, total, done, self._settings.progress)
        for low, high in spans:
            yield _take(tables, high - low) or encoder.encode(rows.table.slice(0, 0), [])
        for message in encoder.check.warnings():
            warnings.warn(message, SampleWarning, stacklevel=2)

    def _encoder(self) -> SampleEncoder:
        return SampleEncoder(self._space, [self._mosaic.survey.name], self._settings)


def _typed(rows: pa.Table) -> pa.Table:
    """Return a catalogue whose columns that extraction reads have the type that it reads."""
    for name, kind in _TYPES.items():
        if name in rows.column_names:
            try:
                column = rows[name].cast(kind)
            except pa.ArrowException as error:
                raise TableError(
                    f"catalogue: column {name!r} ({rows[name].type}) is not {kind} "
                    f"({first_line(error)})"
                ) from error
            rows = rows.set_column(rows.column_names.index(name), name, column)
    return rows


def cut_batches(
    mosaic: Mosaic, rows: pa.Table, number: np.ndarray, *, threads: int = 1
) -> Iterator[tuple[pa.Table, list[Cutout | CutoutError]]]:
    """Yield batches of rows of one tile each, with their cutouts.

    Parameters
    ----------
    mosaic : Mosaic
        Tiles, and the side of a cutout.
    rows : pa.Table
        ``ra``, ``dec`` [ICRS deg], and ``psf_fwhm_arcsec`` where known, ordered by tile.
    number : (n,) int array
        Tile of each row, as of `Mosaic.assign`.
    threads : int
        Threads that cut, ahead of the caller.
    """

    def cut(span: Span) -> tuple[pa.Table, list[Cutout | CutoutError]]:
        batch = rows.slice(span[0], span[1] - span[0])
        names = [n for n in ("ra", "dec", "psf_fwhm_arcsec") if n in batch.column_names]
        return batch, mosaic.cutouts(int(number[span[0]]), batch.select(names).to_pylist())

    edges = [0, *_tile_ends(number)]
    spans = [
        (low, min(low + _BATCH_ROWS, edges[k + 1]))
        for k, first in enumerate(edges[:-1])
        for low in range(first, edges[k + 1], _BATCH_ROWS)
    ]
    yield from parallel_map(cut, spans, threads=threads, prefetch=threads + _PREFETCHED)


def _tile_ends(number: np.ndarray) -> list[int]:
    """Return the row after the last one of each tile."""
    changes = np.flatnonzero(np.diff(number)) + 1
    return [*changes.tolist(), len(number)] if len(number) else []


def _spans(number: np.ndarray) -> list[Span]:
    """Return the rows of each part: whole tiles, or pieces of a tile with many rows."""
    spans, low = list[Span](), 0
    for end in _tile_ends(number):
        while end - low > _MOST_ROWS:
            spans.append((low, low + _MOST_ROWS))
            low += _MOST_ROWS
        if end - low >= _FEWEST_ROWS:
            spans.append((low, end))
            low = end
    if low < len(number) or not spans:
        spans.append((low, len(number)))
    return spans


def _take(tables: Iterable[pa.Table], rows: int) -> pa.Table | None:
    """Return the next tables of so many rows as one."""
    held: list[pa.Table] = []
    iterator = iter(tables)
    while sum(map(len, held)) < rows:
        held.append(next(iterator))
    return pa.concat_tables(held) if held else None
