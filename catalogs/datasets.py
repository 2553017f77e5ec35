"""Published image sets as sample tables: Galaxy10, Hugging Face, Multimodal Universe, HATS.

======================  ============================================================================
Galaxy10 DECaLS         HDF5 with ``images, ans, ra, dec, redshift, pxscale``; rows point into it
Galaxy10 SDSS           HDF5 with ``images, ans`` only: positions must come from a catalogue
Hugging Face            a folder of Parquet shards with ``image`` {bytes, path}; rows carry images
Multimodal Universe     the same with ``image`` {band, flux, mask, ivar, psf_fwhm, scale}
HATS                    ``Norder=/Dir=/Npix=.parquet`` with a nested ``image``
======================  ============================================================================

Pixels are left as they are: `galaxy_da.images.cutouts` reads them all. Rows that carry images
are streamed
from shard to table, never held together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalogs.reading.catalogue import read_catalog
from catalogs.reading.columns import find_ids, find_positions, make_ids
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.files import atomic_path
from galaxy_da.io.staging import local_copy
from galaxy_da.io.storage import (
    Location,
    PathOrUrl,
    exists,
    location,
    read_text,
    store_errors,
)
from galaxy_da.io.tables import (
    check_positions,
    check_unique,
    open_parquet,
    read_table,
    with_metadata,
    write_table,
)
from galaxy_da.surveys import get_survey

__all__ = ["GALAXY10_CLASSES", "write_galaxy10", "write_sample", "write_shards"]

GALAXY10_CLASSES = {
    "decals": (
        "Disturbed",
        "Merging",
        "Round Smooth",
        "In-between Round Smooth",
        "Cigar Shaped Smooth",
        "Barred Spiral",
        "Unbarred Tight Spiral",
        "Unbarred Loose Spiral",
        "Edge-on without Bulge",
        "Edge-on with Bulge",
    ),
    "sdss": (
        "Disk, Face-on, No Spiral",
        "Smooth, Completely round",
        "Smooth, in-between round",
        "Smooth, Cigar shaped",
        "Disk, Edge-on, Rounded Bulge",
        "Disk, Edge-on, Boxy Bulge",
        "Disk, Edge-on, No Bulge",
        "Disk, Face-on, Tight Spiral",
        "Disk, Face-on, Medium Spiral",
        "Disk, Face-on, Loose Spiral",
    ),
}
"""What ``ans`` means (astroNN documentation, "Galaxy10 DECals" and "Galaxy10 SDSS")."""

_ROWS = 256  # of one batch and row group: 100 MB of images at 160 pixels and 4 bands
_HATS_FILES = ("hats.properties", "properties", "collection.properties")
_IMAGE_FIELDS = ("band", "flux", "psf_fwhm", "scale", "bytes", "path")


def write_sample(source: PathOrUrl, out: PathOrUrl, survey: str, **options: Any) -> dict[str, Any]:
    """Write the sample table of a published image set, whatever its layout.

    Parameters
    ----------
    source : path
        A Galaxy10 HDF5 file, a Parquet file, a folder of Parquet shards, or a HATS catalogue.
    out : path
        The sample table, Parquet.
    survey : str
        What the images are of.
    **options
        Those of `write_galaxy10` for HDF5, else of `write_shards`.

    Returns
    -------
    dict
        ``sample`` (path), ``rows``, ``layout``.

    Raises
    ------
    CatalogError
        If there is no image set there, or positions are missing.
    TableError
        If ids repeat.
    """
    place = location(source)
    write = write_galaxy10 if place.suffix.lower() in (".h5", ".hdf5") else write_shards
    return write(place, location(out), survey, **options)


def write_galaxy10(
    source: Location,
    out: Location,
    survey: str,
    *,
    positions: PathOrUrl | None = None,
    pixel_scale_arcsec: float | None = None,
) -> dict[str, Any]:
    """Write a sample table that points into a Galaxy10 HDF5 file.

    Parameters
    ----------
    source : Location
        The file. Rows are named ``FILE#ROW``, relative to the table's folder.
    out : Location
        The sample table.
    survey : str
        ``decals`` or ``sdss``.
    positions : path or URL, optional
        Catalogue with one row per image, in order, for a file without ``ra`` and ``dec``.
    pixel_scale_arcsec : float, optional
        Side of a pixel [arcsec], for a file without ``pxscale``. (Galaxy10 SDSS was cut from
        images scaled by each galaxy's radius: only a catalogue can say.)

    Returns
    -------
    dict
        ``sample``, ``rows``, ``layout``.

    Raises
    ------
    CatalogError
        If the file is no Galaxy10, or positions or pixel scales are missing or of another number.
    """
    import h5py

    get_survey(survey)
    try:
        with h5py.File(local_copy(source), "r") as file:
            sizes = {name: file[name].shape[0] for name in file if file[name].shape}
            columns = {name: file[name][:] for name in file if len(file[name].shape) == 1}
    except (OSError, AttributeError) as error:
        raise CatalogError(f"{source}: is not a Galaxy10 HDF5 file ({error})") from error
    n = sizes.get("images", 0)
    if not n or set(sizes.values()) != {n}:
        raise CatalogError(f"{source}: expected 'images' and columns as long but has {sizes}")
    if positions is not None:
        columns |= _catalog_columns(location(positions), n, source)
    columns["pixel_scale_arcsec"] = _pixel_scales(columns, pixel_scale_arcsec, n, source)
    columns.pop("pxscale", None)
    if not {"ra", "dec"} <= columns.keys():
        raise CatalogError(
            f"{source}: has no positions ('ra', 'dec'); give a catalogue with one row per image by "
            "positions=, since without them galaxies can be neither matched nor split by sky"
        )
    check_positions(columns["ra"], columns["dec"], str(source))
    where = _relative(source, out.parent)
    made = {
        "object_id": [str(i) for i in columns.pop("object_id", range(n))],
        "survey": [survey] * n,
        "ra": columns.pop("ra").astype(np.float64),
        "dec": columns.pop("dec").astype(np.float64),
        "cutout": [f"{where}#{i}" for i in range(n)],
    }
    if "ans" in columns and survey in GALAXY10_CLASSES:
        names = np.array(GALAXY10_CLASSES[survey])
        made["galaxy10_class"] = names[columns["ans"].astype(int)]
    table = pa.table({**made, **columns})
    check_unique(table, ("survey", "object_id"), str(source))
    return _write(table, out, source, "Galaxy10")


def write_shards(
    source: Location,
    out: Location,
    survey: str,
    *,
    image: str | None = None,
    bands: Sequence[str] = (),
    pixel_scale_arcsec: float | None = None,
    ra: str | None = None,
    dec: str | None = None,
    object_id: str | None = None,
) -> dict[str, Any]:
    """Write a sample table that carries the images of Parquet shards.

    Of a nested image, band, flux, PSF and scale are kept; masks and inverse variances are not.

    Parameters
    ----------
    source : Location
        A Parquet file, a folder of them at any depth, or a HATS catalogue or collection.
    out : Location
        The sample table.
    survey : str
        What the images are of.
    image : str, optional
        The column of images; by default the only one. Sets of several surveys have more
        (``hsc_image``, ``legacysurvey_image``).
    bands : sequence of str, optional
        Names of the planes, for nested images without ``band``.
    pixel_scale_arcsec : float, optional
        Side of a pixel [arcsec], where neither images nor a column say and it is not the survey's.
    ra, dec, object_id : str, optional
        Columns; by default by their usual spellings.

    Returns
    -------
    dict
        ``sample``, ``rows``, ``layout``.

    Raises
    ------
    CatalogError
        If there are no shards, they differ in columns, or a column is missing.
    TableError
        If ids repeat.
    """
    definition = get_survey(survey)
    for band in bands:
        definition.band(band)
    files, layout = _shards(source)
    schema = _common_schema(files, source)
    image = _image_column(schema, image, source)
    light = [name for name in schema.names if name not in _images(schema)]
    catalog = pa.concat_tables([_read(file, light) for file in files])
    positions = find_positions(light, ra, dec, str(source))
    ids = find_ids(light, object_id, str(source))
    if positions.frame is not None:
        raise CatalogError(
            f"{source}: positions are {positions.frame} ({positions.lon}, {positions.lat}); a "
            "sample needs ICRS ra and dec"
        )
    made = {
        "object_id": make_ids(catalog, ids, str(source)),
        "survey": pa.chunked_array([pa.array([survey] * len(catalog), pa.string())]),
        "ra": catalog[positions.lon].cast(pa.float64()),
        "dec": catalog[positions.lat].cast(pa.float64()),
    }
    if pixel_scale_arcsec is not None:
        scales = pa.array(np.full(len(catalog), float(pixel_scale_arcsec)))
        made["pixel_scale_arcsec"] = pa.chunked_array([scales])
    check_positions(made["ra"].to_numpy(), made["dec"].to_numpy(), str(source))
    catalog = _first(made, catalog, {positions.lon, positions.lat, *ids})
    check_unique(catalog, ("survey", "object_id"), str(source))
    images = _image_batches(files, image, tuple(bands), source)
    _stream(catalog, images, out, {"source": source.name, "layout": layout})
    return {"sample": str(out), "rows": len(catalog), "layout": layout}


# Galaxy10


def _catalog_columns(path: Location, n: int, source: Location) -> dict[str, np.ndarray]:
    """Return ids, positions and pixel scales of a catalogue with one row per image."""
    table = read_catalog(path)
    if len(table) != n:
        raise CatalogError(f"{path}: has {len(table)} rows but {source} holds {n} images")
    names = [
        name
        for name in ("object_id", "ra", "dec", "pixel_scale_arcsec")
        if name in table.column_names
    ]
    return {name: table[name].to_numpy(zero_copy_only=False) for name in names}


def _relative(file: Location, folder: Location) -> str:
    """Return a path as seen from a folder; a URL, or an absolute path where only one is local."""
    if isinstance(file, Path):
        return os.path.relpath(file, folder) if isinstance(folder, Path) else str(file.resolve())
    return str(file)


def _pixel_scales(
    columns: Mapping[str, np.ndarray], asked: float | None, n: int, source: Location
) -> np.ndarray:
    known = columns.get("pixel_scale_arcsec", columns.get("pxscale"))
    scales = np.full(n, np.nan if asked is None else asked) if known is None else known
    if not np.all(np.asarray(scales, dtype=float) > 0):
        raise CatalogError(
            f"{source}: the pixel scale of some images is unknown; give pixel_scale_arcsec=, or a "
            "column of that name in the catalogue of positions"
        )
    return np.asarray(scales, dtype=np.float64)


def _write(table: pa.Table, out: Location, source: Location, layout: str) -> dict[str, Any]:
    write_table(with_metadata(table, {"source": source.name, "layout": layout}), out)
    return {"sample": str(out), "rows": len(table), "layout": layout}


# Parquet shards


def _shards(source: Location) -> tuple[list[Location], str]:
    """Return the Parquet files of an image set, and what kind of set it is."""
    if exists(source):
        return [source], "Parquet"
    layout = "HATS" if any(exists(source / name) for name in _HATS_FILES) else "Parquet"
    collection = source / "collection.properties"
    if exists(collection):
        lines = read_text(collection).splitlines()
        pairs = {key.strip(): value for key, _, value in (line.partition("=") for line in lines)}
        if "hats_primary_table_url" not in pairs:
            raise CatalogError(f"{collection}: does not name its table (hats_primary_table_url)")
        source = source / pairs["hats_primary_table_url"].strip()
    pattern = "**/Npix=*" if layout == "HATS" else "**/*.parquet"
    with store_errors(source, "listed"):
        found = [
            part
            for path in source.glob(pattern)
            for part in (path.rglob("*.parquet") if path.is_dir() else [path])
        ]
    files = sorted(
        {file for file in found if file.suffix == ".parquet" and file.name[0] not in "_."}
    )
    if not files:
        raise CatalogError(
            f"{source}: no image set there; give a Galaxy10 HDF5 file, a Parquet file, a folder of "
            "Parquet shards or a HATS catalogue"
        )
    return files, layout


def _common_schema(files: Sequence[Location], source: Location) -> pa.Schema:
    try:
        schemas = [open_parquet(file).schema_arrow.remove_metadata() for file in files]
    except (TableError, OSError) as error:
        raise CatalogError(f"{source}: a shard is not a Parquet file ({error})") from error
    for file, schema in zip(files, schemas, strict=True):
        if schema != schemas[0]:
            raise CatalogError(f"{file}: its columns differ from those of {files[0].name}")
    return schemas[0]


def _read(file: Location, columns: list[str]) -> pa.Table:
    return read_table(file, columns).replace_schema_metadata()


def _images(schema: pa.Schema) -> list[str]:
    """Return the columns that hold images."""
    return [field.name for field in schema if _is_image(field.type)]


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        return any(kind.get_field_index(name) >= 0 for name in ("flux", "bytes"))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _image_column(schema: pa.Schema, asked: str | None, source: Location) -> str:
    found = _images(schema)
    if asked is not None and asked in found:
        return asked
    if asked is None and len(found) == 1:
        return found[0]
    said = f"column {asked!r} holds no images" if asked else f"{len(found)} columns hold images"
    raise CatalogError(
        f"{source}: {said}; it has images in {', '.join(found) or 'no column'}; say which by "
        "image=NAME"
    )


def _first(made: Mapping[str, pa.ChunkedArray], catalog: pa.Table, used: set[str]) -> pa.Table:
    """Put the made columns first; another column of such a name is kept as ``NAME_input``."""
    rest = [name for name in catalog.column_names if not (name in used and name in made)]
    names = [f"{name}_input" if name in (*made, "image", "cutout") else name for name in rest]
    return pa.table([*made.values(), *(catalog[name] for name in rest)], names=[*made, *names])


def _image_batches(
    files: Sequence[Location], image: str, bands: tuple[str, ...], source: Location
) -> Iterator[pa.Array]:
    for file in files:
        with store_errors(file), open_parquet(file) as shard:
            for batch in shard.iter_batches(_ROWS, columns=[image]):
                yield _keep(batch.column(0), bands, source)


def _keep(images: pa.Array, bands: tuple[str, ...], source: Location) -> pa.Array:
    """Drop what no reader uses of nested images, and name their bands where asked to."""
    if not pa.types.is_struct(images.type):
        return images
    names = [name for name in _IMAGE_FIELDS if images.type.get_field_index(name) >= 0]
    parts = [pc.struct_field(images, name) for name in names]  # nulls of the struct included
    if bands and "band" not in names:
        names, parts = ["band", *names], [pa.array([list(bands)] * len(images)), *parts]
    if "flux" in names and "band" not in names:
        raise CatalogError(f"{source}: nested images do not name their bands; give bands=")
    return pa.StructArray.from_arrays(parts, names, mask=images.is_null())


def _stream(
    catalog: pa.Table, images: Iterator[pa.Array], out: Location, metadata: Mapping[str, Any]
) -> None:
    """Write the catalogue with its images, batch by batch."""
    writer, row = None, 0
    with atomic_path(out) as path:
        try:
            for batch in images:
                rows = catalog.slice(row, len(batch)).append_column("image", batch)
                rows = with_metadata(rows, metadata)
                writer = writer or pq.ParquetWriter(path, rows.schema, compression="zstd")
                writer.write_table(rows)
                row += len(batch)
        finally:
            if writer is not None:
                writer.close()
        if row != len(catalog) or writer is None:
            raise TableError(f"{out}: {row} images for {len(catalog)} rows")
