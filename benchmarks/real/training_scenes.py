"""Write the tables of real scenes on which the shipped anchor is trained.

One galaxy in four is left out, chosen by its id, and so are the known pairs: they are for tests.
"""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.support.commands import command_parser
from catalogs.simulation.scene_tables import scene_table
from galaxy_da.io.tables import write_table

_ZOO_PIXEL_ARCSEC = 0.3  # assumed; the images are scaled to the size of each galaxy


def unseen(object_ids: list[str]) -> np.ndarray:
    """Return True for the galaxies that are left for tests, (n,) bool."""
    return np.array([crc32(name.encode()) % 4 == 0 for name in object_ids], bool)


def training_scenes(data: Path, out: Path) -> dict[str, int]:
    """Write a sample table for each collection of images; return the number of its rows."""
    known = pyarrow.csv.read_csv(data / "pairs.csv", convert_options=_as_text())
    paired = pa.concat_arrays([known[name].combine_chunks() for name in ("anchor_id", "target_id")])
    counts = {}
    for name, file, survey, stretch, column in (
        ("spirals", "sdss_spirals.parquet", "sdss", None, "gz1_class"),
        ("galaxy-zoo", "sdss_galaxy_zoo1.parquet", "sdss", "galaxy-zoo-1", "gz1_class"),
        ("guide", "galaxy_zoo_guide.parquet", "decals", "galaxy-zoo", None),
    ):
        table = pq.read_table(data / file)
        if column is None:
            table = table.filter(pc.equal(table["survey"], survey))
        else:
            table = table.filter(pc.not_equal(table[column], "unknown"))  # stars, satellite trails
        ids = table["object_id"].cast(pa.string())
        kept = ~unseen(ids.to_pylist()) & ~pc.is_in(ids, value_set=paired).to_numpy()
        table = table.filter(pa.array(kept))
        columns = {"object_id": table["object_id"].cast(pa.string()), "image": table["image"]}
        for extra in ("ra", "dec", "pixel_scale_arcsec"):
            if extra in table.column_names:
                columns[extra] = table[extra]
        columns["survey"] = pa.array([survey] * len(table))
        columns["scene_class"] = table[column] if column else pa.array(["guide"] * len(table))
        if stretch:
            columns["stretch"] = pa.array([stretch] * len(table))
        scenes = scene_table(pa.table(columns), _ZOO_PIXEL_ARCSEC)
        write_table(scenes, out / f"{name}.parquet")
        counts[name] = len(scenes)
    return counts


def _as_text() -> pyarrow.csv.ConvertOptions:
    names = ("anchor_id", "target_id")
    return pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in names})


def main() -> None:
    """Run the command."""
    arguments = command_parser("real.training_scenes", __doc__)
    arguments.add_argument("data", type=Path, help="folder of the real images")
    arguments.add_argument("--out", type=Path, default=Path("scenes"), help="folder of the tables")
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name, rows in training_scenes(given.data, given.out).items():
        print(f"{name}: {rows} images")


if __name__ == "__main__":
    main()
