"""A sample in partitions of the sky: those of a HATS catalogue, or tables cut into HEALPix pixels.

Tables are cut by their positions alone, which are read a table at a time; whoever takes a partition
reads its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from galaxy_da.cluster.hats_features import SKY_ORDER, Pixel, sky_index
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.quiet import quiet_lsdb
from galaxy_da.io.storage import (
    Location,
    PathOrUrl,
    exists,
    is_folder,
    list_files,
    list_names,
    location,
    store_errors,
    with_store_errors,
)
from galaxy_da.io.tables import Sample, check_positions, open_parquet, slice_tables, validate_sample

if TYPE_CHECKING:
    from hats.pixel_math import HealpixPixel

__all__ = ["AT_ONCE", "Partition", "PartitionSample", "partitions_of"]

AT_ONCE = 16
"""Footers of partitions that are read at once."""

_MOST_ROWS = 100_000
_FEWEST_ROWS = 500
_PARTITIONS = 64
"""How many a sample is cut into at least, between these numbers of rows of a partition."""

_HIGHEST_ORDER = 10


@dataclass(frozen=True, kw_only=True)
class Partition:
    """Rows of one pixel, and where they are.

    Attributes
    ----------
    pixel : Pixel
        On the sky, with its number of rows.
    files : tuple of Path or UPath
        Parquet tables that hold them.
    folder : Path or UPath
        Where relative cutout URIs start.
    is_whole : bool
        Whether the files hold no others.
    """

    pixel: Pixel
    files: tuple[Location, ...]
    folder: Location
    is_whole: bool


class PartitionSample(Sample):
    """The sample table of one partition; opening reads every column but the images.

    Parameters
    ----------
    partition : Partition
        Which.

    Raises
    ------
    TableError, CatalogError, StorageError
        As `Sample`.
    """

    def __init__(self, partition: Partition) -> None:
        self.path = partition.files[0]
        self._folder = partition.folder
        self._files = [open_parquet(path) for path in partition.files]
        light = [name for name in self._files[0].schema_arrow.names if name != "image"]
        with store_errors(self.path):
            tables = [file.read(columns=light) for file in self._files]
        self._chosen = [
            np.ones(len(table), bool) if partition.is_whole else _inside(table, partition.pixel)
            for table in tables
        ]
        self.catalog = pa.concat_tables(
            table.filter(pa.array(chosen))
            for table, chosen in zip(tables, self._chosen, strict=True)
        )
        has_image = "image" in self._files[0].schema_arrow.names
        validate_sample(self.catalog, str(self.path), has_image=has_image)

    @property
    def folder(self) -> Location:
        """Where relative cutout URIs start."""
        return self._folder

    def batches(self, rows: int, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
        """Stream rows as `Sample.batches` does; row groups without any are not read."""
        batches = with_store_errors(self.path, _rebatched(self._rows(rows), rows))
        yield from slice_tables(batches, start, len(self) if stop is None else stop)

    def _rows(self, rows: int) -> Iterator[pa.Table]:
        """Yield the partition's rows as they lie in their files, images included."""
        for file, chosen in zip(self._files, self._chosen, strict=True):
            groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            for number, group in enumerate(np.split(chosen, np.cumsum(groups)[:-1])):
                begin = 0
                for batch in file.iter_batches(rows, row_groups=[number]) if group.any() else ():
                    here = group[begin : begin + batch.num_rows]
                    begin += batch.num_rows
                    if here.any():
                        yield pa.Table.from_batches([batch.filter(pa.array(here))])


def partitions_of(path: PathOrUrl, partition_rows: int | None = None) -> list[Partition]:
    """Return the partitions of a sample, in order of the sky.

    Parameters
    ----------
    path : path or URL
        A HATS catalogue, a Parquet table, or a folder of Parquet tables of the same columns.
        Relative cutout URIs start at the folder, or beside the table.
    partition_rows : int, optional
        Largest number of rows of a partition that tables are cut into, where pixels of HEALPix
        order 10 hold no more. By default from 500 to 100,000, for 64 partitions or more.

    Raises
    ------
    TableError, CatalogError
        If there is no such catalogue or table, tables differ in their columns, or a position is
        bad.
    StorageError
        If the store it is in fails.
    """
    place = location(path)
    if exists(place):
        return _of_tables([place], partition_rows)
    there = list_names(place)
    if there & {"hats.properties", "properties", "collection.properties"}:
        return _of_catalogue(place)
    files = [place / name for name in sorted(there) if name.endswith(".parquet")]
    if not files and not there and not is_folder(place):
        files = [place]  # which is said to be missing
    if not files:
        raise TableError(
            f"{place}: holds neither a HATS catalogue (hats.properties) nor sample tables "
            "(*.parquet)"
        )
    return _of_tables(files, partition_rows)


def _of_catalogue(path: Location) -> list[Partition]:
    with quiet_lsdb():
        import hats
        from hats.io.paths import pixel_catalog_file

        try:
            with store_errors(path):
                found = hats.read_hats(path)
                main = location(str(getattr(found, "main_catalog_dir", None) or found.catalog_path))
                catalog = hats.read_hats(main)
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise CatalogError(f"{path}: is no HATS catalogue ({reason})") from error
        suffix = catalog.catalog_info.npix_suffix
        places = {
            pixel: location(str(pixel_catalog_file(main, pixel, npix_suffix=suffix)))
            for pixel in catalog.get_healpix_pixels()
        }

    def partition(item: tuple[HealpixPixel, Location]) -> Partition:
        pixel, place = item
        files: tuple[Location, ...] = (place,)
        if suffix == "/":
            files = tuple(file for file in list_files(place) if file.suffix == ".parquet")
        n_rows = sum(open_parquet(file).metadata.num_rows for file in files)
        known = Pixel(int(pixel.order), int(pixel.pixel), n_rows)
        return Partition(pixel=known, files=files, folder=path, is_whole=True)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        partitions = pool.map(partition, places.items())
        return sorted(partitions, key=lambda partition: partition.pixel.first)


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
        index = _index(positions, str(path), _HIGHEST_ORDER)
        own, rows = np.unique(index, return_counts=True)
        counts[own] += rows
        cells.append(own)
    n = int(counts.sum())
    if not n:
        raise TableError(f"{files[0]}: the sample has no rows")
    most = partition_rows or int(np.clip(n // _PARTITIONS, _FEWEST_ROWS, _MOST_ROWS))
    pixels = _pixels(counts, max(most, int(counts.max())))
    starts = np.array([pixel.first for pixel in pixels])
    holding: list[list[Location]] = [[] for _ in pixels]
    for path, own in zip(files, cells, strict=True):
        first = own << 2 * (SKY_ORDER - _HIGHEST_ORDER)
        for number in np.unique(np.searchsorted(starts, first, side="right") - 1):
            holding[number].append(path)
    return [
        Partition(pixel=pixel, files=tuple(some), folder=files[0].parent, is_whole=False)
        for pixel, some in zip(pixels, holding, strict=True)
    ]


def _pixels(counts: np.ndarray, most: int) -> list[Pixel]:
    """Cut the sky into the largest pixels that hold no more than so many rows."""
    sums = [counts]
    for _ in range(_HIGHEST_ORDER):
        sums.append(sums[-1].reshape(-1, 4).sum(axis=1))
    sums.reverse()  # by order
    pixels = []
    split = np.ones(12, bool)  # whose parent holds too many
    for order, rows in enumerate(sums):
        chosen = split & (rows > 0) & (rows <= most)
        pixels += [Pixel(order, int(i), int(rows[i])) for i in np.flatnonzero(chosen)]
        split = np.repeat(split & (rows > most), 4)
    return sorted(pixels, key=lambda pixel: pixel.first)


def _inside(table: pa.Table, pixel: Pixel) -> np.ndarray:
    """Mark the rows of a table that lie in a pixel."""
    inside: np.ndarray = _index(table, "sample", pixel.order) == pixel.number
    return inside


def _index(table: pa.Table, where: str, order: int) -> np.ndarray:
    """Return each row's HEALPix pixel of an order."""
    ra, dec = (table[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
    check_positions(ra, dec, where)
    return np.asarray(sky_index(ra, dec) >> 2 * (SKY_ORDER - order))


def _rebatched(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Join tables, or cut them, into ones of so many rows."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= rows:
            joined = pa.concat_tables(held)
            full = len(joined) // rows * rows
            yield from (joined.slice(low, rows) for low in range(0, full, rows))
            held = [joined.slice(full)] if full < len(joined) else []
    if held:
        yield pa.concat_tables(held)
