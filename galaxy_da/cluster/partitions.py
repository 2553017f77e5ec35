"""Samples in partitions of the sky: those of a HATS catalogue, or tables cut into HEALPix pixels.

Tables are cut by their positions alone, read one table at a time. A task reads the other columns of
its own partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from galaxy_da.errors import TableError
from galaxy_da.extraction.parts import split_in_parts
from galaxy_da.io.hats.folders import is_hats
from galaxy_da.io.hats.partitions import list_partitions
from galaxy_da.io.hats.pixels import SKY_ORDER, Pixel, at_order, sky_index
from galaxy_da.io.positions import are_positions
from galaxy_da.io.samples import Sample, slice_tables, validate_sample
from galaxy_da.io.storage import (
    Location,
    PathOrUrl,
    exists,
    is_folder,
    list_names,
    location,
    store_errors,
    with_store_errors,
)
from galaxy_da.io.tables import open_parquet

_MOST_ROWS = 100_000
_FEWEST_ROWS = 500
_PARTITIONS = 64
"""Smallest number of partitions of a sample, if each has a number of rows between these two."""

_HIGHEST_ORDER = 10


@dataclass(frozen=True, kw_only=True)
class Partition:
    """The rows of one pixel: their number, the Parquet tables that hold them, and their folder.

    Relative cutout URIs start from `folder`; `is_whole` if all rows of the files are in the pixel.
    """

    pixel: Pixel
    n_rows: int
    files: tuple[Location, ...]
    folder: Location
    is_whole: bool


class PartitionSample(Sample):
    """The sample table of one partition; opening it reads every column but the images."""

    def __init__(self, partition: Partition) -> None:
        self.path = partition.files[0]
        self._folder = partition.folder
        self._files = [open_parquet(path) for path in partition.files]
        light = [name for name in self._files[0].schema_arrow.names if name != "image"]
        with store_errors(self.path):
            tables = [file.read(columns=light) for file in self._files]
        self._inside = [
            np.ones(len(table), bool) if partition.is_whole else _inside(table, partition.pixel)
            for table in tables
        ]
        self.catalog = pa.concat_tables(
            table.filter(pa.array(inside))
            for table, inside in zip(tables, self._inside, strict=True)
        )
        has_image = "image" in self._files[0].schema_arrow.names
        validate_sample(self.catalog, str(self.path), has_image=has_image)

    @property
    def folder(self) -> Location:
        """Folder that relative cutout URIs start from."""
        return self._folder

    def batches(self, rows: int, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
        """Stream rows as `Sample.batches` does; row groups without one of its rows are not read."""
        batches = with_store_errors(self.path, split_in_parts(self._rows(rows), rows))
        yield from slice_tables(batches, start, len(self) if stop is None else stop)

    def _rows(self, rows: int) -> Iterator[pa.Table]:
        """Yield the partition's rows as they lie in their files, images included."""
        for file, inside in zip(self._files, self._inside, strict=True):
            groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            for number, group in enumerate(np.split(inside, np.cumsum(groups)[:-1])):
                begin = 0
                for batch in file.iter_batches(rows, row_groups=[number]) if group.any() else ():
                    here = group[begin : begin + batch.num_rows]
                    begin += batch.num_rows
                    if here.any():
                        yield pa.Table.from_batches([batch.filter(pa.array(here))])


def partitions_of(path: PathOrUrl, partition_rows: int | None = None) -> list[Partition]:
    """Return the partitions of a sample, in order of the sky.

    `path` is a HATS catalogue, a Parquet table, or a folder of Parquet tables of the same columns.
    Tables are cut into partitions of at most `partition_rows`, by default from 500 to 100,000, for
    64 partitions or more; pixels of HEALPix order 10 are not cut. Rows of tables without a usable
    position are in none.
    """
    place = location(path)
    if exists(place):
        return _of_tables([place], partition_rows)
    if is_hats(place):
        return [
            Partition(**part._asdict(), folder=place, is_whole=True)
            for part in list_partitions(place)
        ]
    there = list_names(place)
    files = [place / name for name in sorted(there) if name.endswith(".parquet")]
    if not files and not there and not is_folder(place):
        files = [place]  # opening it reports that it is missing
    if not files:
        raise TableError(
            f"{place}: holds neither a HATS catalogue (hats.properties) nor sample tables "
            "(*.parquet)"
        )
    return _of_tables(files, partition_rows)


def _of_tables(files: Sequence[Location], partition_rows: int | None) -> list[Partition]:
    counts = np.zeros(12 * 4**_HIGHEST_ORDER, np.int64)
    cells = []
    schema = open_parquet(files[0]).schema_arrow
    if not {"ra", "dec"} <= set(schema.names):
        raise TableError(f"{files[0]}: has no ra and dec; it has {', '.join(schema.names)}")
    for path in files:
        file = open_parquet(path)
        if not file.schema_arrow.equals(schema):
            raise TableError(
                f"{path}: its columns or their types are not those of {files[0].name}; the tables "
                "of a sample are alike"
            )
        with store_errors(path):
            positions = file.read(columns=["ra", "dec"])
        index = _index(positions, _HIGHEST_ORDER)
        own, rows = np.unique(index[index >= 0], return_counts=True)
        counts[own] += rows
        cells.append(own)
    n = int(counts.sum())
    if not n:
        raise TableError(f"{files[0]}: the sample has no rows with a usable position")
    most = partition_rows or int(np.clip(n // _PARTITIONS, _FEWEST_ROWS, _MOST_ROWS))
    pixels = _pixels(counts, max(most, int(counts.max())))
    starts = np.array([pixel.first for pixel in pixels])
    holding: list[list[Location]] = [[] for _ in pixels]
    for path, own in zip(files, cells, strict=True):
        first = own << 2 * (SKY_ORDER - _HIGHEST_ORDER)
        for number in np.unique(np.searchsorted(starts, first, side="right") - 1):
            holding[number].append(path)
    folder = files[0].parent
    return [
        Partition(pixel=pixel, n_rows=n, files=tuple(paths), folder=folder, is_whole=False)
        for (pixel, n), paths in zip(pixels.items(), holding, strict=True)
    ]


def _pixels(counts: np.ndarray, most: int) -> dict[Pixel, int]:
    """Return the largest pixels that hold at most so many rows, in order of the sky, with counts.

    `counts` are the rows in each pixel of the highest order.
    """
    sums = [counts]
    for _ in range(_HIGHEST_ORDER):
        sums.append(sums[-1].reshape(-1, 4).sum(axis=1))
    pixels: dict[Pixel, int] = {}
    is_split = np.ones(12, bool)  # the parent pixel holds too many
    for order, rows in enumerate(reversed(sums)):
        chosen = is_split & (rows > 0) & (rows <= most)
        pixels |= {Pixel(order, int(i)): int(rows[i]) for i in np.flatnonzero(chosen)}
        is_split = np.repeat(is_split & (rows > most), 4)
    return dict(sorted(pixels.items(), key=lambda item: item[0].first))


def _inside(table: pa.Table, pixel: Pixel) -> np.ndarray:
    """Mark the rows of a table that lie in a pixel."""
    inside: np.ndarray = _index(table, pixel.order) == pixel.number
    return inside


def _index(table: pa.Table, order: int) -> np.ndarray:
    """Return each row's HEALPix pixel of an order, -1 for a row without a usable position."""
    ra, dec = (table[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
    good = are_positions(ra, dec)
    index = np.full(len(table), -1)
    index[good] = at_order(sky_index(ra[good], dec[good]), order)
    return index
