"""Parquet shards, whose images the sample table carries.

Images are streamed from shard to table, never held together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalogs.datasets.options import ImageSetOptions, no_image_set
from catalogs.reading.columns import find_ids, find_positions, make_ids
from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.files import atomic_path
from galaxy_da.io.hats.folders import is_hats, list_hats_files, list_parquet_files, main_catalogue
from galaxy_da.io.positions import usable_positions
from galaxy_da.io.storage import Location, exists, store_errors
from galaxy_da.io.tables import check_unique, open_parquet, read_table, with_metadata
from galaxy_da.surveys import find_survey

BATCH_ROWS = 256  # of a row group: 100 MB of images at 160 pixels and 4 bands
_IMAGE_FIELDS = ("band", "flux", "psf_fwhm", "scale", "bytes", "path")


def write_shards(
    source: Location, out: Location, survey: str, options: ImageSetOptions
) -> dict[str, Any]:
    """Write a sample table that carries the images of Parquet shards or a HATS catalogue.

    Of a nested image, band, flux, PSF and scale are kept; masks and inverse variances are not.
    """
    definition = find_survey(survey)
    for band in options.bands:
        definition.band(band)
    survey = definition.name
    files, layout = _shards(source)
    schema = _common_schema(files, source)
    image = _image_column(schema, options.image, source)
    if options.stretch is not None and _has_field(schema.field(image).type, "flux"):
        raise ValueError(f"{source.name} holds fluxes in {image}; stretch is for colour images")
    light = [name for name in schema.names if name not in _images(schema)]
    catalog = pa.concat_tables([read_table(f, light).replace_schema_metadata() for f in files])
    images = _image_batches(files, image, options.bands, source)
    return write_set(source, out, survey, options, ImageSet(catalog, images, layout))


@dataclass(frozen=True)
class ImageSet:
    """Catalogue of an image set, its images in the same order, and the name of its layout."""

    catalog: pa.Table
    images: Iterator[pa.Array]
    layout: str


def write_set(
    source: Location, out: Location, survey: str, options: ImageSetOptions, found: ImageSet
) -> dict[str, Any]:
    """Write a sample table that carries the images of a set, batch by batch."""
    catalog, light = found.catalog, found.catalog.column_names
    positions = find_positions(light, options.ra, options.dec, str(source))
    ids = find_ids(light, options.object_id, str(source))
    if positions.frame is not None:
        raise CatalogError(
            f"{source}: positions are {positions.frame} ({positions.lon}, {positions.lat}); a "
            "sample needs ICRS ra and dec"
        )
    n = len(catalog)
    made = {
        "object_id": make_ids(catalog, ids, str(source)),
        "survey": pa.repeat(pa.scalar(survey, pa.string()), n),
        "ra": catalog[positions.lon].cast(pa.float64()),
        "dec": catalog[positions.lat].cast(pa.float64()),
    }
    if options.pixel_scale_arcsec is not None:
        made["pixel_scale_arcsec"] = pa.repeat(float(options.pixel_scale_arcsec), n)
    if options.stretch is not None:
        made["stretch"] = pa.repeat(pa.scalar(options.stretch, pa.string()), n)
    usable_positions(made["ra"].to_numpy(), made["dec"].to_numpy(), str(source))
    catalog = _prepend(made, catalog, {positions.lon, positions.lat, *ids})
    check_unique(catalog, ("survey", "object_id"), str(source))
    _stream(catalog, found.images, out, {"source": source.name, "layout": found.layout})
    return {"sample": str(out), "rows": len(catalog), "layout": found.layout}


def _shards(source: Location) -> tuple[list[Location], str]:
    if exists(source):
        return [source], "Parquet"
    if is_hats(source):
        files, layout = list_hats_files(main_catalogue(source)), "HATS"
    else:
        files, layout = list_parquet_files(source), "Parquet"
    if not files:
        raise no_image_set(source)
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


def _images(schema: pa.Schema) -> list[str]:
    """Return the columns that hold images: the bytes of files, or structs of bytes or pixels."""
    return [
        field.name
        for field in schema
        if _has_field(field.type, "flux", "bytes")
        or _item(field.type) in (pa.binary(), pa.large_binary())
    ]


def _has_field(kind: pa.DataType, *names: str) -> bool:
    """Test if a type is a struct, or a list of structs, with one of some fields."""
    item = _item(kind)
    return pa.types.is_struct(item) and any(item.get_field_index(name) >= 0 for name in names)


def _item(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind


def _image_column(schema: pa.Schema, name: str | None, source: Location) -> str:
    columns = _images(schema)
    if name is not None and name in columns:
        return name
    if name is None and len(columns) == 1:
        return columns[0]
    fault = f"column {name!r} holds no images" if name else f"{len(columns)} columns hold images"
    raise CatalogError(
        f"{source}: {fault}; it has images in {', '.join(columns) or 'no column'}; say which by "
        "image=NAME"
    )


def _prepend(made: Mapping[str, Any], catalog: pa.Table, used: set[str]) -> pa.Table:
    """Put made columns first; another column of the same name is kept as ``NAME_input``."""
    rest = [name for name in catalog.column_names if not (name in used and name in made)]
    names = [f"{name}_input" if name in (*made, "image", "cutout") else name for name in rest]
    return pa.table([*made.values(), *(catalog[name] for name in rest)], names=[*made, *names])


def _image_batches(
    files: Sequence[Location], image: str, bands: tuple[str, ...], source: Location
) -> Iterator[pa.Array]:
    for file in files:
        with store_errors(file), open_parquet(file) as shard:
            for batch in shard.iter_batches(BATCH_ROWS, columns=[image]):
                yield _keep(batch.column(0), bands, source)


def _keep(images: pa.Array, bands: tuple[str, ...], source: Location) -> pa.Array:
    """Keep the fields of nested images that readers use, and name their bands if given."""
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
