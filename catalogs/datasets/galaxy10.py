"""Galaxy10: an HDF5 file that the rows of its sample table point into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.datasets.image_files import relative_uri
from catalogs.datasets.options import ImageSetOptions
from catalogs.reading import read_catalog
from galaxy_da.errors import CatalogError
from galaxy_da.io.positions import usable_positions
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import Location, location
from galaxy_da.io.tables import check_unique, with_metadata, write_table
from galaxy_da.surveys import find_survey

GALAXY10_CLASSES = {
    "decals": (
        "Disturbed", "Merging", "Round Smooth", "In-between Round Smooth", "Cigar Shaped Smooth",
        "Barred Spiral", "Unbarred Tight Spiral", "Unbarred Loose Spiral", "Edge-on without Bulge",
        "Edge-on with Bulge",
    ),
    "sdss": (
        "Disk, Face-on, No Spiral", "Smooth, Completely round", "Smooth, in-between round",
        "Smooth, Cigar shaped", "Disk, Edge-on, Rounded Bulge", "Disk, Edge-on, Boxy Bulge",
        "Disk, Edge-on, No Bulge", "Disk, Face-on, Tight Spiral", "Disk, Face-on, Medium Spiral",
        "Disk, Face-on, Loose Spiral",
    ),
}  # fmt: skip
"""Names of the numbers ``ans`` (astroNN documentation, "Galaxy10 DECals" and "Galaxy10 SDSS")."""


def write_galaxy10(
    source: Location, out: Location, survey: str, options: ImageSetOptions
) -> dict[str, Any]:
    """Write a sample table that points into a Galaxy10 HDF5 file.

    Rows are named ``FILE#ROW``, relative to the table's folder. Galaxy10 SDSS was cut from images
    scaled by each galaxy's radius, so only a catalogue of positions can give its pixel scales.
    """
    import h5py

    survey = find_survey(survey).name
    try:
        with h5py.File(local_copy(source), "r") as file:
            sizes = {name: file[name].shape[0] for name in file if file[name].shape}
            columns = {name: file[name][:] for name in file if len(file[name].shape) == 1}
    except (OSError, AttributeError) as error:
        raise CatalogError(f"{source}: is not a Galaxy10 HDF5 file ({error})") from error
    n = sizes.get("images", 0)
    if not n or set(sizes.values()) != {n}:
        raise CatalogError(f"{source}: expected 'images' and columns as long but has {sizes}")
    if options.positions is not None:
        columns |= _catalog_columns(location(options.positions), n, source)
    columns["pixel_scale_arcsec"] = _pixel_scales(columns, options.pixel_scale_arcsec, n, source)
    columns.pop("pxscale", None)
    if not {"ra", "dec"} <= columns.keys():
        raise CatalogError(
            f"{source}: has no positions ('ra', 'dec'); give a catalogue with one row per image by "
            "positions=, since without them galaxies can be neither matched nor split by sky"
        )
    usable_positions(columns["ra"], columns["dec"], str(source))
    where = relative_uri(source, out.parent)
    made = {
        "object_id": [str(i) for i in columns.pop("object_id", range(n))],
        "survey": [survey] * n,
        "ra": columns.pop("ra").astype(np.float64),
        "dec": columns.pop("dec").astype(np.float64),
        "cutout": [f"{where}#{i}" for i in range(n)],
    }
    if options.stretch is not None:
        made["stretch"] = [options.stretch] * n
    if "ans" in columns and survey in GALAXY10_CLASSES:
        names = np.array(GALAXY10_CLASSES[survey])
        made["galaxy10_class"] = names[columns["ans"].astype(int)]
    table = pa.table({**made, **columns})
    check_unique(table, ("survey", "object_id"), str(source))
    write_table(with_metadata(table, {"source": source.name, "layout": "Galaxy10"}), out)
    return {"sample": str(out), "rows": n, "layout": "Galaxy10"}


def _catalog_columns(path: Location, n: int, source: Location) -> dict[str, np.ndarray]:
    table = read_catalog(path)
    if len(table) != n:
        raise CatalogError(f"{path}: has {len(table)} rows but {source} holds {n} images")
    wanted = {"object_id", "ra", "dec", "pixel_scale_arcsec"} & set(table.column_names)
    return {name: table[name].to_numpy() for name in wanted}


def _pixel_scales(
    columns: Mapping[str, np.ndarray], scale: float | None, n: int, source: Location
) -> np.ndarray:
    known = columns.get("pixel_scale_arcsec", columns.get("pxscale"))
    scales = np.full(n, np.nan if scale is None else scale) if known is None else known
    if not np.all(np.asarray(scales, dtype=float) > 0):
        raise CatalogError(
            f"{source}: the pixel scale of some images is unknown; give pixel_scale_arcsec=, or a "
            "column of that name in the catalogue of positions"
        )
    return np.asarray(scales, dtype=np.float64)
