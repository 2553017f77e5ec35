"""Partitions of a HATS catalogue, each written whole by a task of its own.

``hats.properties``, without which a folder is no catalogue, is written after all partitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from galaxy_da.io.features import SKY_INDEX
from galaxy_da.io.files import atomic_path
from galaxy_da.io.hats.folders import check_row_count, list_parquet_files, read_properties
from galaxy_da.io.hats.libraries import main_path, read_structure, using_lsdb
from galaxy_da.io.hats.pixels import SKY_ORDER, Pixel, sky_index
from galaxy_da.io.storage import Location, list_files, location, store_errors
from galaxy_da.io.tables import open_parquet

AT_ONCE = 16
"""Footers of partitions that are read at once."""

DATASET = "dataset"
"""Folder of the partitions in a catalogue."""


class StoredPartition(NamedTuple):
    """A pixel, the Parquet files of its rows, and their number."""

    pixel: Pixel
    files: tuple[Location, ...]
    n_rows: int


def in_sky_order(table: pa.Table) -> pa.Table:
    """Return a table sorted by sky index, survey and id, with HATS's index column first."""
    names = [name for name in table.column_names if name != SKY_INDEX]
    ra, dec = (table[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
    indexed = table.select(names).add_column(0, SKY_INDEX, pa.array(sky_index(ra, dec)))
    keys = (SKY_INDEX, "survey", "object_id")
    return indexed.sort_by([(name, "ascending") for name in keys])


def partition_name(pixel: Pixel) -> str:
    """Return the file of a pixel's rows, relative to the catalogue."""
    folder = pixel.number // 10_000 * 10_000
    return f"{DATASET}/Norder={pixel.order}/Dir={folder}/Npix={pixel.number}.parquet"


def list_partitions(path: Location) -> list[StoredPartition]:
    """Return the partitions of a catalogue, or of a collection's main one, in order of the sky.

    Raises CatalogError if there is no HATS catalogue, or it lacks rows.
    """
    with using_lsdb():
        from hats.io.paths import pixel_catalog_file

        main = location(str(main_path(read_structure(path))))
        catalogue = read_structure(main)
        suffix = catalogue.catalog_info.npix_suffix
        places = {
            Pixel(int(pixel.order), int(pixel.pixel)): str(
                pixel_catalog_file(main, pixel, npix_suffix=suffix)
            )
            for pixel in catalogue.get_healpix_pixels()
        }

    def partition(item: tuple[Pixel, str]) -> StoredPartition:
        pixel, place = item
        files = list_parquet_files(location(place)) if suffix == "/" else [location(place)]
        n_rows = sum(open_parquet(file).metadata.num_rows for file in files)
        return StoredPartition(pixel, tuple(files), n_rows)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        partitions = sorted(pool.map(partition, places.items()), key=lambda one: one.pixel.first)
    check_row_count(sum(one.n_rows for one in partitions), read_properties(main), main)
    return partitions


def finish_hats(folder: Location, rows: Mapping[Pixel, int], schema: pa.Schema) -> None:
    """Describe a catalogue whose partitions are all written.

    `rows` are the numbers of rows of its partitions, in order of the sky; `schema` has their
    columns with metadata.
    """
    with using_lsdb():
        from hats.catalog import CatalogType, PartitionInfo, TableProperties
        from hats.io.file_io import get_upath
        from hats.pixel_math import HealpixPixel

    with atomic_path(folder / DATASET / "_common_metadata") as path:
        pq.write_metadata(schema, path)
    info = PartitionInfo([HealpixPixel(*pixel) for pixel in rows])
    with atomic_path(folder / "partition_info.csv") as path:
        info.as_dataframe().to_csv(path, index=False)
    provenance = TableProperties.new_provenance_dict(builder=f"galaxy_da v{version('galaxy_da')}")
    properties = TableProperties(
        catalog_name=folder.name,
        catalog_type=CatalogType.OBJECT,
        total_rows=sum(rows.values()),
        ra_column="ra",
        dec_column="dec",
        healpix_column=SKY_INDEX,
        healpix_order=SKY_ORDER,
        hats_order=info.get_highest_order(),
        hats_max_rows=max(rows.values()),
        moc_sky_fraction=float(info.calculate_fractional_coverage()),
        npix_suffix=".parquet",
        **{**provenance, "hats_estsize": _size_bytes(folder) // 1024},
    )
    with atomic_path(folder / "hats.properties") as path:
        properties.to_properties_file_path(get_upath(path))


def _size_bytes(folder: Location) -> int:
    """Return the size of a folder; HATS's own estimate asks a store for each file."""
    if isinstance(folder, Path):
        return sum(path.stat().st_size for path in list_files(folder))
    with store_errors(folder, "listed"):
        size: Any = folder.fs.du(folder.path)
    return int(size)
