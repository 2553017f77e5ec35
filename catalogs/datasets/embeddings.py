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
from galaxy_da.io.features import Features, part_path, write_header
from galaxy_da.io.storage import PathOrUrl, location
from galaxy_da.io.tables import read_table, with_metadata, write_table
from galaxy_da.surveys import find_survey

READING = "embedding of another model"


def read_embeddings(
    path: PathOrUrl,
    survey: str,
    column: str,
    model: str | None = None,
    options: ImageSetOptions | None = None,
) -> Features:
    """Read a Parquet table of ids, positions and embeddings as features.

    `column` holds lists of numbers, all of one length; rows without one have no embedding.
    Embeddings of one `model` (by default `column`) and width share a space, named by the hash of
    both, and an index. `options` may name the columns of ids and positions.
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
    message = pa.scalar("the table has no embedding of it", pa.string())
    made = {
        "survey": pa.repeat(pa.scalar(name, pa.string()), n),
        "status": pc.if_else(valid, "ok", "no_data"),
        "message": pc.if_else(valid, pa.scalar(None, pa.string()), message),
        "flags": pa.array(np.zeros(n, np.int32)),
        "embedding": embedding,
    }
    table = catalog.select([key for key in catalog.column_names if key not in {column, *made}])
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
    record = {name: getattr(features, name) for name in ("space_id", "encoders", "readings")}
    write_header(target, 1, features.table.num_rows, record)


def _vectors(column: pa.ChunkedArray, where: str) -> pa.Array:
    number = getattr(column.type, "value_type", None)
    if number is None or not (pa.types.is_floating(number) or pa.types.is_integer(number)):
        raise CatalogError(f"{where} holds {column.type}; expected lists of numbers")
    values = column.combine_chunks()
    lengths = pc.unique(pc.list_value_length(values).drop_null()).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise CatalogError(
            f"{where} holds lists of {len(lengths)} lengths ({', '.join(map(str, lengths[:5]))}); "
            "expected embeddings of one length"
        )
    if missing := values.drop_null().flatten().null_count:
        raise CatalogError(f"{where} holds {missing} missing numbers inside its lists")
    return pc.cast(values, pa.list_(pa.float32(), lengths[0]), safe=False)
