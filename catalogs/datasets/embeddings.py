"""Embeddings of another model as features of a foreign space, to index and to compare.

A row has an id, a position and a list of numbers, as AION (``aion_mean_embedding``), AstroPT and
the Platonic Universe (``MODEL_SIZE_SURVEY``) publish them in Parquet. Spaces of different models
share no index, since their distances cannot be compared; recall of pairs can.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalogs.datasets.options import ImageSetOptions
from catalogs.reading import read_catalog
from galaxy_da.errors import CatalogError
from galaxy_da.io.features import FORMAT, MANIFEST, Features, part_path
from galaxy_da.io.files import write_json
from galaxy_da.io.storage import PathOrUrl, location
from galaxy_da.io.tables import read_table, with_metadata, write_table
from galaxy_da.surveys import find_survey

__all__ = ["read_embeddings", "write_embeddings"]

READING = "embedding of another model"


def read_embeddings(
    path: PathOrUrl,
    survey: str,
    column: str,
    model: str | None = None,
    options: ImageSetOptions | None = None,
) -> Features:
    """Read a table of embeddings as features.

    Parameters
    ----------
    path : path or URL
        Parquet table with ids, positions and embeddings.
    survey : str
        Survey of the images, built in or a TOML file.
    column : str
        Column of lists of numbers, all of one length. Rows without one have no embedding.
    model : str, optional
        Name of the model, by default `column`. Only embeddings of one model and width share a
        space and an index.
    options : ImageSetOptions, optional
        Columns of ids and positions (`ra`, `dec`, `object_id`), by default recognised.

    Returns
    -------
    Features
        Features of a space named by the hash of model and width.

    Raises
    ------
    CatalogError
        If the column does not hold lists of numbers of one length, or no row has one.
    """
    chosen = options or ImageSetOptions()
    catalog = read_catalog(path, ra=chosen.ra, dec=chosen.dec, object_id=chosen.object_id)
    if column not in catalog.column_names:
        catalog = catalog.append_column(column, read_table(path, [column])[column])
    embedding = _vectors(catalog[column], f"{path}: column {column}")
    width = embedding.type.list_size
    name = find_survey(survey).name
    space_id = hashlib.sha256(f"{model or column}:{width}".encode()).hexdigest()
    n, valid = len(catalog), embedding.is_valid()
    taken = {column, "survey", "status", "message", "flags", "embedding"}
    table = catalog.select([key for key in catalog.column_names if key not in taken])
    message = pa.scalar("the table has no embedding of it", pa.string())
    made = {
        "survey": pa.repeat(pa.scalar(name, pa.string()), n),
        "status": pc.if_else(valid, "ok", "no_data"),
        "message": pc.if_else(valid, pa.scalar(None, pa.string()), message),
        "flags": pa.array(np.zeros(n, np.int32)),
        "embedding": embedding,
    }
    for key, values in made.items():
        table = table.append_column(key, values)
    return Features(
        table=with_metadata(table, {"model": model or column}),
        space_id=space_id,
        encoders={name: space_id},
        readings={name: READING},
    )


def write_embeddings(features: Features, folder: PathOrUrl) -> None:
    """Write features as a folder that `galaxy-da index` takes."""
    target = location(folder)
    write_table(features.table, part_path(target, 0))
    header = {
        "format": FORMAT,
        "parts": 1,
        "rows": features.table.num_rows,
        "space_id": features.space_id,
        "encoders": features.encoders,
        "readings": features.readings,
    }
    write_json(target / MANIFEST, header)


def _vectors(column: pa.ChunkedArray, where: str) -> pa.Array:
    """Return lists of numbers as fixed-size lists of float32."""
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks)
    kind = values.type
    lists = (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    if not lists or not (
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    ):
        raise CatalogError(f"{where} holds {kind}; expected lists of numbers")
    lengths = pc.unique(pc.list_value_length(values).drop_null()).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise CatalogError(
            f"{where} holds lists of {len(lengths)} lengths ({', '.join(map(str, lengths[:5]))}); "
            "expected embeddings of one length"
        )
    numbers = values.drop_null().flatten().cast(pa.float32(), safe=False)
    if numbers.null_count:
        raise CatalogError(f"{where} holds {numbers.null_count} missing numbers inside its lists")
    every = np.zeros((len(values), lengths[0]), np.float32)
    known = np.asarray(values.is_valid())
    every[known] = numbers.to_numpy().reshape(-1, lengths[0])
    flat = pa.array(every.ravel())
    return pa.FixedSizeListArray.from_arrays(flat, lengths[0], mask=pa.array(~known))
