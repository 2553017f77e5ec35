"""Small indexes, and brute-force results of queries."""

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from galaxy_da.io.features import Features
from galaxy_da.latent_index import LatentIndex

texts = st.text(max_size=5)
points = st.lists(
    st.one_of(st.integers(-2, 2), st.floats(-50, 50, width=32)), min_size=2, max_size=2
)
objects = st.dictionaries(texts, points, min_size=1, max_size=12)


def build(**surveys):
    """Index of surveys given as dictionaries of object id to embedding."""
    rng = np.random.default_rng(0)
    features = []
    for survey, objects in surveys.items():
        n, width = len(objects), len(next(iter(objects.values())))
        table = {
            "object_id": pa.array(objects, pa.string()),
            "survey": pa.array([survey] * n, pa.string()),
            "ra": rng.uniform(0, 360, n),
            "dec": rng.uniform(-90, 90, n),
            "flags": pa.array(range(n), pa.int32()),
            "embedding": pa.array(list(objects.values()), pa.list_(pa.float32(), width)),
        }
        features.append(Features(table=pa.table(table), space_id="s" * 64, encoders={survey: "e"}))
    return LatentIndex.build(features)


def cloud(n, d=3, seed=0, centre=0.0):
    points = np.random.default_rng(seed).normal(centre, size=(n, d)).astype(np.float32)
    return {f"{seed}-{i}": point for i, point in enumerate(points)}


def pair_table(pairs, **columns):
    n = len(pairs)
    table = {
        "anchor_id": pa.array([a for a, _ in pairs], pa.string()),
        "target_id": pa.array([b for _, b in pairs], pa.string()),
        "separation_arcsec": np.linspace(0, 1, n),
        "n_candidates": pa.array([1] * n, pa.int32()),
        "ambiguous": [False] * n,
    }
    return pa.table({**table, **columns})


def keys(table):
    return [f"{row['survey']}:{row['object_id']}" for row in table.to_pylist()]


def separation(one, other):
    return float(np.linalg.norm(np.subtract(one, other, dtype=float)))
