"""Recall of features, of this library or of another model, on pairs of the same galaxies."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.retrieval import Recall, match_ranks, recall_of
from galaxy_da.errors import TableError
from galaxy_da.io.features import Features, vectors


def recall_of_features(
    anchor: Features, target: Features, pairs: pa.Table, seed: int = 0
) -> Recall:
    """Measure how often a target's own galaxy is the nearest of the anchor's paired ones.

    The features are of one space, such as `catalogs.datasets.read_embeddings` makes of another
    model. Use one pair table for every model compared: pairs that one model lacks shrink its pool.
    Ambiguous pairs are left out. `seed` is that of the bootstrap of the intervals. Raises
    ValueError for features of two spaces, TableError if no pair has an embedding on both sides.
    """
    if anchor.space_id != target.space_id:
        raise ValueError(
            f"features are of two spaces, {anchor.space_id[:12]} and {target.space_id[:12]}; "
            "distances between them mean nothing"
        )
    clear = pairs.filter(pc.invert(pairs["ambiguous"]))
    sides = [_rows(anchor.ok(), clear["anchor_id"]), _rows(target.ok(), clear["target_id"])]
    both = (sides[0] >= 0) & (sides[1] >= 0)
    if not both.any():
        raise TableError(f"none of the {len(clear)} pairs has an embedding in both features")
    pool, queries = (
        vectors(features.ok())[rows[both]]
        for features, rows in zip((anchor, target), sides, strict=True)
    )
    return recall_of(match_ranks(queries, pool), len(pool), seed)


def _rows(table: pa.Table, ids: pa.ChunkedArray) -> np.ndarray:
    """Return the row of each id, -1 if it has none."""
    known = table["object_id"].cast(pa.string()).combine_chunks()
    found = pc.index_in(ids.cast(pa.string()), value_set=known)
    return np.asarray(pc.fill_null(found, -1).to_numpy())
