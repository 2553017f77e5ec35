"""Features as a HATS catalogue: a Parquet file for each HEALPix pixel, which LSDB opens.

A partition is written as a whole or not at all. ``hats.properties``, without which nothing is a
HATS catalogue, comes when all are there. Format: IVOA Note "HATS",
https://www.ivoa.net/documents/Notes/HATS/.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from galaxy_da.io.catalogue_output import with_votable_header
from galaxy_da.io.features import SKY_INDEX
from galaxy_da.io.files import atomic_path
from galaxy_da.io.storage import Location, list_files, store_errors
from galaxy_da.io.tables import open_parquet

__all__ = [
    "DATASET",
    "SKY_ORDER",
    "Pixel",
    "finish_hats",
    "in_sky_order",
    "partition_name",
    "sky_index",
]

SKY_ORDER = 29
DATASET = "dataset"


class Pixel(NamedTuple):
    """A HEALPix pixel, nested, and how many rows are in it."""

    order: int
    number: int
    n_rows: int

    @property
    def first(self) -> int:
        """The first pixel of order 29 in it, by which pixels are in order of the sky."""
        return self.number << 2 * (SKY_ORDER - self.order)


def sky_index(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return the HEALPix pixel of order 29, nested, of each position [ICRS deg], (n,) int64."""
    from hats.pixel_math import compute_spatial_index

    return np.asarray(compute_spatial_index(ra, dec), np.int64)


def in_sky_order(table: pa.Table) -> pa.Table:
    """Return a table sorted by place on the sky, survey and id, with the column HATS sorts by."""
    names = [name for name in table.column_names if name != SKY_INDEX]
    ra, dec = (table[name].cast(pa.float64()).to_numpy() for name in ("ra", "dec"))
    indexed = table.select(names).add_column(0, SKY_INDEX, pa.array(sky_index(ra, dec)))
    keys = (SKY_INDEX, "survey", "object_id")
    return indexed.sort_by([(name, "ascending") for name in keys])


def partition_name(pixel: Pixel) -> str:
    """Return where a pixel's rows lie, relative to the catalogue."""
    folder = pixel.number // 10_000 * 10_000
    return f"{DATASET}/Norder={pixel.order}/Dir={folder}/Npix={pixel.number}.parquet"


def finish_hats(folder: Location, pixels: Sequence[Pixel]) -> None:
    """Describe a catalogue whose partitions are all there, ``hats.properties`` last.

    Raises
    ------
    StorageError
        If a file cannot be written.
    """
    from hats.catalog import CatalogType, PartitionInfo, TableProperties
    from hats.io.file_io import get_upath
    from hats.pixel_math import HealpixPixel

    schema = open_parquet(folder / partition_name(pixels[0])).schema_arrow
    with atomic_path(folder / DATASET / "_common_metadata") as path:
        pq.write_metadata(with_votable_header(schema.remove_metadata().empty_table()).schema, path)
    info = PartitionInfo([HealpixPixel(pixel.order, pixel.number) for pixel in pixels])
    with atomic_path(folder / "partition_info.csv") as path:
        info.as_dataframe().to_csv(path, index=False)
    properties = TableProperties(
        catalog_name=folder.name,
        catalog_type=CatalogType.OBJECT,
        total_rows=sum(pixel.n_rows for pixel in pixels),
        ra_column="ra",
        dec_column="dec",
        healpix_column=SKY_INDEX,
        healpix_order=SKY_ORDER,
        hats_order=info.get_highest_order(),
        hats_max_rows=max(pixel.n_rows for pixel in pixels),
        moc_sky_fraction=float(info.calculate_fractional_coverage()),
        npix_suffix=".parquet",
        **_provenance(folder),
    )
    with atomic_path(folder / "hats.properties") as path:
        properties.to_properties_file_path(get_upath(path))


def _provenance(folder: Location) -> dict[str, Any]:
    """Say what made a catalogue, and how large it is.

    HATS's own estimate asks a store for each file, and remembers that the last is not there yet.
    """
    from hats.catalog import TableProperties

    if isinstance(folder, Path):
        size = sum(path.stat().st_size for path in list_files(folder))
    else:
        with store_errors(folder, "listed"):
            size = int(folder.fs.du(folder.path))
    made = TableProperties.new_provenance_dict(builder=f"galaxy_da v{version('galaxy_da')}")
    return {**made, "hats_estsize": size // 1024}
