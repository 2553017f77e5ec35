"""Prepared training images on disk, written by one or more processes.

Each process writes a float16 array and a small table. Batches are read straight from these files,
so memory does not grow with the data.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalogs.splits import SkySplit, recorded_split
from galaxy_da.errors import StorageError
from galaxy_da.io.files import write_json
from galaxy_da.io.tables import write_table
from training.parallel.processes import Share, is_first, wait
from training.pretraining.recipe import Recipe

_IMAGES, _ROWS, _PARTS = "images-{}.npy", "rows-{}.parquet", "parts.json"
_COLUMNS = pa.schema({"part": pa.string(), "label": pa.string(), "redshift": pa.float32()})


@dataclass(frozen=True)
class TrainingImages:
    """Memory maps of prepared images, (n, bands, y, x) float16, one for each process.

    `rows` holds each galaxy's ``part`` of the sky, ``label`` (class or null) and ``redshift`` (or
    null). `split` divided the sky into these parts.
    """

    images: tuple[np.ndarray, ...]
    rows: pa.Table
    split: SkySplit = field(default_factory=SkySplit)

    @classmethod
    def open(cls, folder: Path) -> TrainingImages:
        """Map the files that `ImageWriter` finished in a folder, or raise StorageError."""
        try:
            record = json.loads((folder / _PARTS).read_text(encoding="utf-8"))
            parts = range(record["parts"])
            tables = [pq.read_table(folder / _ROWS.format(i)) for i in parts]
            maps = [np.load(folder / _IMAGES.format(i), mmap_mode="r") for i in parts]
        except OSError as error:
            raise StorageError(
                f"{folder}: the prepared images cannot be read ({error.strerror or error}); where "
                "several hosts train, --out has to be storage that all of them see"
            ) from error
        images = tuple(map_[: len(table)] for map_, table in zip(maps, tables, strict=True))
        return cls(images, pa.concat_tables(tables), recorded_split(record))

    @staticmethod
    def finished(folder: Path) -> bool:
        """Return True if every process has finished its images in a folder."""
        return (folder / _PARTS).is_file()

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Read the images of some galaxies, (n, bands, y, x) float32."""
        ends = np.cumsum([len(part) for part in self.images])
        owner = np.searchsorted(ends, rows, side="right")
        images = np.empty((len(rows), *self.images[0].shape[1:]), np.float32)
        for number in np.unique(owner):
            here, part = owner == number, self.images[number]
            images[here] = part[rows[here] - (ends[number] - len(part))]
        return images

    @cached_property
    def part(self) -> np.ndarray:
        """(n,) str array: part of the sky."""
        return np.asarray(self.rows["part"].to_pylist())

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes, sorted."""
        return sorted(pc.unique(self.rows["label"].drop_null()).to_pylist())

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) int array: number of the class, -1 where unknown."""
        numbers = pc.index_in(self.rows["label"], value_set=pa.array(self.classes, pa.string()))
        return np.asarray(pc.fill_null(numbers, -1)).astype(np.int64)

    @cached_property
    def redshift(self) -> np.ndarray:
        """(n,) float32 array, NaN where unknown."""
        return np.asarray(self.rows["redshift"].to_numpy(zero_copy_only=False), np.float32)


class ImageWriter:
    """Writer of one process's part, source rows `first` to `end`, of the prepared images.

    `edges` are the source rows at which a part may begin, from 0 to the number of rows; they are
    ignored where there are fewer of them than processes. `written` counts the galaxies so far.
    Raises StorageError if the images of all processes do not fit on the disk.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, edges: np.ndarray, split: SkySplit | None = None
    ) -> None:
        self.first, self.end = _own_range(edges)
        self._split = split or SkySplit()
        self.written = 0
        self._folder, self._share = folder, Share.of(int(edges[-1]))
        self._tables: list[pa.Table] = []
        side = recipe.frame.pixels
        one = (len(recipe.frame.bands), side, side)
        need, free = 2 * self._share.rows * math.prod(one), shutil.disk_usage(folder).free
        if need > free:
            raise StorageError(
                f"{folder}: the prepared images need {need / 1e9:.1f} GB but {free / 1e9:.1f} GB "
                "are free; choose another --out, or fewer images"
            )
        shape = (max(self.end - self.first, 1), *one)  # an empty array cannot be mapped
        path = folder / _IMAGES.format(self._share.number)
        self._images = np.lib.format.open_memmap(path, "w+", np.float16, shape)

    def add(
        self, images: np.ndarray, table: pa.Table, class_column: str, redshift: pa.Array
    ) -> None:
        """Write images (n, bands, y, x), part of the sky, class and redshift of more galaxies."""
        self._images[self.written : self.written + len(images)] = images
        label = pa.nulls(len(table), pa.string())
        if class_column in table.column_names:
            label = table[class_column].cast(pa.string())
        ra, dec = (table[name].to_numpy(zero_copy_only=False) for name in ("ra", "dec"))
        columns = {"part": self._split.part(ra, dec), "label": label, "redshift": redshift}
        self._tables.append(pa.table(columns, schema=_COLUMNS))
        self.written += len(table)

    def finish(self) -> None:
        """Close the part, and mark the whole as finished when every process is done."""
        self._images.flush()
        table = pa.concat_tables([_COLUMNS.empty_table(), *self._tables])
        write_table(table, self._folder / _ROWS.format(self._share.number))
        wait()
        if is_first():
            record = {"parts": self._share.processes, "split": self._split.as_record()}
            write_json(self._folder / _PARTS, record)
        wait()


def _own_range(edges: np.ndarray) -> tuple[int, int]:
    """Return a range of rows for this process, about as long as those of the others."""
    share = Share.of(int(edges[-1]))
    ends = np.linspace(0, share.rows, share.processes + 1).round().astype(int)
    if len(edges) > share.processes:
        ends = edges[np.abs(edges[:, None] - ends).argmin(0)]
    return int(ends[share.number]), int(ends[share.number + 1])
