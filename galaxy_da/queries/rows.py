"""Helpers of the queries: rows of an index, their latents, and tables of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import LatentIndexError
from galaxy_da.index.gathering import Vectors, arrow_array
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Selection, Subset
from galaxy_da.io.features import vectors
from galaxy_da.models.latents import join_latents
from galaxy_da.models.match_probability import MatchProbability

if TYPE_CHECKING:
    from galaxy_da.space import LatentSpace

BATCH = 4096
"""Rows processed at a time."""


def select(index: StoredIndex, survey: str | None, within: Subset | None) -> Selection:
    """Return the rows of a survey that meet the conditions of a subset."""
    subset = within or Subset()
    return index.select(survey, where=subset.where, cone=subset.cone, clean=subset.clean)


def result_table(
    index: StoredIndex, rows: np.ndarray, **measures: np.ndarray | pa.Array | pa.ChunkedArray
) -> pa.Table:
    """Return keys, positions and flags of rows with their rank and measured columns."""
    table = index.take(rows, ["survey", "object_id", "ra", "dec", "flags"])
    rank = arrow_array(np.arange(1, len(rows) + 1, dtype=np.int32))
    table = table.add_column(0, "rank", rank)
    for name, values in measures.items():
        column = arrow_array(values) if isinstance(values, np.ndarray) else values
        table = table.add_column(table.num_columns - 1, name, column)
    return table


def without_self(
    own: np.ndarray, distances: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Drop each row from its own (n, k) neighbours, or the last if duplicates displaced it."""
    drop = rows == own[:, None]
    drop[~drop.any(axis=1), -1] = True
    return distances[~drop].reshape(len(own), -1), rows[~drop].reshape(len(own), -1)


def rows_of(index: StoredIndex, survey: str, ids: pa.ChunkedArray) -> np.ndarray:
    """Return row numbers of a survey's objects, -1 for those not in the index."""
    start, stop = index.span(survey)
    known = index.rows["object_id"].slice(start, stop - start).combine_chunks()
    places = pc.fill_null(pc.index_in(ids.cast(pa.string()), value_set=known), -1).to_numpy()
    return np.where(places < 0, -1, places + start).astype(np.int64)


def places_of_survey(index: StoredIndex, rows: np.ndarray, survey: str | None) -> np.ndarray:
    """Return the places of a survey's rows among ascending rows; all places without a survey."""
    return np.arange(*np.searchsorted(rows, index.span(survey)))


def posteriors(index: StoredIndex, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means and variances of rows, two (n, d) float32 arrays."""
    return index.vectors[rows], vectors(index.take(rows, ["variance"]), "variance")


def all_latents(index: StoredIndex, rows: np.ndarray) -> np.ndarray:
    """Return galaxy and, if the index has them, nuisance latents of rows, (n, latents) float32."""
    galaxy = index.vectors[rows]
    if "nuisance" not in index.rows.column_names:
        return galaxy
    return join_latents(galaxy, vectors(index.take(rows, ["nuisance"]), "nuisance"))


def match_model(
    index: StoredIndex, space: LatentSpace, anchor: str, target: str
) -> MatchProbability:
    """Return the match-probability model of two surveys, if the index fits the space."""
    index.check_space(space.id)
    model = space.match_probability(anchor, target)
    if "variance" not in index.rows.column_names:
        raise LatentIndexError(
            "the index holds no variances, which match_probability needs; extract again"
        )
    for survey in (anchor, target):
        if index.encoders[survey] != space.encoder(survey).hash:
            raise LatentIndexError(
                f"{survey}: the index holds vectors of another encoder than this space's; extract "
                "its features with this space and index them again"
            )
    return model


def separations(vectors: Vectors, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the latent distances between pairs of rows, (n,) float32."""
    parts = [np.empty(0, np.float32)]
    for low in range(0, len(first), BATCH):
        shift = vectors[first[low : low + BATCH]] - vectors[second[low : low + BATCH]]
        parts.append(np.linalg.norm(shift, axis=1))
    return np.concatenate(parts)
