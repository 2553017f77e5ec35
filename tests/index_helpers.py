"""Features and indexes made of given vectors."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from galaxy_da.io.features import FORMAT, Features, part_path

SPACE = "5bace" + "0" * 59


def make(
    survey,
    embeddings,
    *,
    ids=None,
    space_id=SPACE,
    encoder="e",
    ra=None,
    dec=None,
    width=2,
    **columns,
):
    """Features of one survey; an embedding of None stands for a cutout that could not be read."""
    n = len(embeddings)
    width = max((len(e) for e in embeddings if e is not None), default=width)
    kind = pa.list_(pa.float32(), width)
    table = {
        "object_id": pa.array(ids or [f"id {i}" for i in range(n)], pa.string()),
        "survey": pa.array([survey] * n, pa.string()),
        "ra": pa.array(np.linspace(10, 11, n) if ra is None else ra, pa.float64()),
        "dec": pa.array(np.linspace(-5, 5, n) if dec is None else dec, pa.float64()),
        "status": ["unreadable" if e is None else "ok" for e in embeddings],
        "message": pa.array([None] * n, pa.string()),
        "flags": pa.array(range(n), pa.int32()),
        "embedding": pa.array(embeddings, kind),
        "variance": pa.array(embeddings, kind),
        "reconstruction_error": pa.array([0.5] * n, pa.float32()),
    }
    return Features(
        table=pa.table({**table, **columns}), space_id=space_id, encoders={survey: encoder}
    )


def random_vectors(n, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def write_features(folder, features):
    """A feature folder of two parts, as `extract` leaves it."""
    folder.mkdir(parents=True)
    half = features.table.num_rows // 2
    for number, part in enumerate((features.table.slice(0, half), features.table.slice(half))):
        pq.write_table(part, part_path(folder, number))
    header = {"format": FORMAT, "parts": 2}
    header |= {"space_id": features.space_id, "encoders": features.encoders}
    (folder / "features.json").write_text(json.dumps(header))
    return folder


def data_file(folder, kind):
    return folder / json.loads((folder / "index.json").read_text())["segments"][0][kind]["name"]


def same_index(one, other):
    return one.rows.equals(other.rows) and np.array_equal(one.vectors, other.vectors)
