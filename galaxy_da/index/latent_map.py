"""The latent space drawn flat: a position in the plane for every object of an index.

UMAP (McInnes, Healy & Melville 2018, arXiv:1802.03426) is fitted on a sample and places the rest by
it; principal components take no time and keep no neighbourhoods. On disk it is ``map.parquet``
beside the index: ``survey``, ``object_id``, ``x``, ``y`` (float32), in the order of the rows.
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

__all__ = ["MAP_FILE", "LatentMap", "draw_map", "read_map", "write_map"]

MAP_FILE = "map.parquet"

_BATCH = 4096
_NEIGHBOURS = 15
_DIRECTIONS = 2

Method = Literal["umap", "pca"]


@dataclass(frozen=True, kw_only=True)
class LatentMap:
    """Where each row of an index lies in the plane.

    Attributes
    ----------
    points : (n, 2) float32 array
        In the order of the index's rows.
    method : str
        ``umap`` or ``pca``.
    generation : int
        Of the index.
    fitted_on : int
        Rows the method was fitted on.
    """

    points: np.ndarray
    method: str
    generation: int
    fitted_on: int


def draw_map(
    index: StoredIndex,
    method: Method = "umap",
    *,
    sample: int = 20_000,
    seed: int = 0,
    progress: bool = False,
) -> LatentMap:
    """Lay an index out in the plane.

    Parameters
    ----------
    index : StoredIndex
        Of at least 16 objects for UMAP, 2 for principal components.
    method : {"umap", "pca"}
    sample : int
        Rows to fit on, drawn at random where there are more.
    seed : int
        Of the draw and of UMAP.
    progress : bool
        Show a progress bar on stderr.

    Raises
    ------
    LatentIndexError
        If the index has too few objects.
    """
    least = _NEIGHBOURS + 1 if method == "umap" else _DIRECTIONS
    if len(index) < least:
        raise LatentIndexError(
            f"{method} takes at least {least} objects but the index has {len(index)}"
        )
    rows = np.arange(len(index))
    if sample < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, max(sample, least), replace=False))
    place, own = _fit(index.vectors[rows], method, seed)
    points = np.empty((len(index), 2), np.float32)
    points[rows] = own
    others = np.setdiff1d(np.arange(len(index)), rows)
    with tqdm(total=len(index), initial=len(rows), desc="map", disable=not progress) as bar:
        for low in range(0, len(others), _BATCH):
            some = others[low : low + _BATCH]
            points[some] = place(index.vectors[some])
            bar.update(len(some))
    return LatentMap(points=points, method=method, generation=index.generation, fitted_on=len(rows))


def write_map(drawn: LatentMap, index: StoredIndex, folder: PathOrUrl) -> Location:
    """Write a map beside its index; the one before stays until it is replaced in one step.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    keys = index.rows.select(["survey", "object_id"]).replace_schema_metadata(None)
    table = keys.append_column("x", pa.array(drawn.points[:, 0]))
    table = table.append_column("y", pa.array(drawn.points[:, 1]))
    about = {
        "method": drawn.method,
        "generation": drawn.generation,
        "fitted_on": drawn.fitted_on,
        "space_id": index.space_id,
    }
    path = location(folder) / MAP_FILE
    write_table(with_metadata(table, about), path)
    return path


def read_map(folder: PathOrUrl, index: StoredIndex) -> LatentMap | None:
    """Read the map of an index; None where there is none, or it is of another generation.

    Raises
    ------
    LatentIndexError
        If the file cannot be read.
    """
    path = location(folder) / MAP_FILE
    if not exists(path):
        return None
    try:
        table = read_table(path, columns=["x", "y"])
        about = read_metadata(table.schema)
        if (about["generation"], about["space_id"]) != (index.generation, index.space_id):
            return None
        points = np.column_stack([table[name].to_numpy() for name in ("x", "y")])
        if points.shape != (len(index), 2):
            return None
        return LatentMap(
            points=points,
            method=about["method"],
            generation=about["generation"],
            fitted_on=about["fitted_on"],
        )
    except (TableError, OSError, ValueError, KeyError) as error:
        raise LatentIndexError(
            f"{path}: is not a map of an index ({error}); run `galaxy-da map {folder}` again"
        ) from error


def _fit(
    points: np.ndarray, method: Method, seed: int
) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Return what places further points, and where the fitted ones are."""
    if method == "pca":
        from sklearn.decomposition import PCA

        plane = PCA(_DIRECTIONS).fit(points)
        return plane.transform, plane.transform(points)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # that it comes without Tensorflow
        from umap import UMAP

    reducer = UMAP(n_neighbors=_NEIGHBOURS, random_state=seed, n_jobs=1)
    own = reducer.fit_transform(points)
    return reducer.transform, own
