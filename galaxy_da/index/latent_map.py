"""Map of the latent space: a position in the plane for every object of an index.

UMAP (McInnes, Healy & Melville 2018, arXiv:1802.03426) is fitted on a sample and then transforms
the other objects. Principal components take no time but do not preserve neighbourhoods. The map is
stored as ``map.parquet`` beside the index: ``survey``, ``object_id``, ``x``, ``y`` (float32), in
the order of the rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from galaxy_da.errors import LatentIndexError, TableError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.io.storage import Location, PathOrUrl, exists, location
from galaxy_da.io.tables import read_metadata, read_table, with_metadata, write_table

MAP_FILE = "map.parquet"

_RECORD = ("method", "generation", "fitted_on")
_BATCH = 4096
_NEIGHBOURS = 15
_DIRECTIONS = 2

Method = Literal["umap", "pca"]


@dataclass(frozen=True, kw_only=True)
class LatentMap:
    """Positions of the rows of an index in the plane, (n, 2) float32, in their order."""

    points: np.ndarray
    method: str  # umap or pca
    generation: int  # of the index
    fitted_on: int  # number of rows


def draw_map(
    index: StoredIndex,
    method: Method = "umap",
    *,
    sample: int = 20_000,
    seed: int = 0,
    progress: bool = False,
) -> LatentMap:
    """Project an index to the plane, by UMAP or principal components.

    They need 16 and 2 objects, else LatentIndexError. At most `sample` random rows are fitted;
    `seed` decides them and UMAP.
    """
    least = _NEIGHBOURS + 1 if method == "umap" else _DIRECTIONS
    if len(index) < least:
        raise LatentIndexError(
            f"{method} needs at least {least} objects but the index has {len(index)}"
        )
    rows = np.arange(len(index))
    if sample < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, max(sample, least), replace=False))
    transform, fitted = _fit(index.vectors[rows], method, seed)
    points = np.empty((len(index), 2), np.float32)
    points[rows] = fitted
    others = np.setdiff1d(np.arange(len(index)), rows)
    with tqdm(total=len(index), initial=len(rows), desc="map", disable=not progress) as bar:
        for low in range(0, len(others), _BATCH):
            batch = others[low : low + _BATCH]
            points[batch] = transform(index.vectors[batch])
            bar.update(len(batch))
    return LatentMap(points=points, method=method, generation=index.generation, fitted_on=len(rows))


def write_map(drawn: LatentMap, index: StoredIndex, folder: PathOrUrl) -> Location:
    """Write a map beside its index, replacing an earlier one in one step."""
    columns = {name: index.rows[name] for name in ("survey", "object_id")}
    table = pa.table({**columns, "x": drawn.points[:, 0], "y": drawn.points[:, 1]})
    record = {name: getattr(drawn, name) for name in _RECORD} | {"space_id": index.space_id}
    path = location(folder) / MAP_FILE
    write_table(with_metadata(table, record), path)
    return path


def read_map(folder: PathOrUrl, index: StoredIndex) -> LatentMap | None:
    """Read the map of an index; None if there is none, or it is of another generation."""
    path = location(folder) / MAP_FILE
    if not exists(path):
        return None
    try:
        table = read_table(path, columns=["x", "y"])
        record = read_metadata(table.schema)
        points = np.column_stack([table[name].to_numpy() for name in ("x", "y")])
        own = (record["generation"], record["space_id"], *points.shape)
        if own != (index.generation, index.space_id, len(index), 2):
            return None
        return LatentMap(points=points, **{name: record[name] for name in _RECORD})
    except (TableError, OSError, ValueError, KeyError) as error:
        raise LatentIndexError(
            f"{path}: is not a map of an index ({error}); run `galaxy-da map {folder}` again"
        ) from error


def _fit(
    points: np.ndarray, method: Method, seed: int
) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Return a transformation for further points, and the positions of the fitted points."""
    if method == "pca":
        from sklearn.decomposition import PCA

        plane = PCA(_DIRECTIONS).fit(points)
        return plane.transform, plane.transform(points)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # UMAP reports that Tensorflow is missing
        from umap import UMAP

    reducer = UMAP(n_neighbors=_NEIGHBOURS, random_state=seed, n_jobs=1)
    fitted = reducer.fit_transform(points)
    return reducer.transform, fitted
