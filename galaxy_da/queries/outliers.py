"""Outliers: galaxies far from others in latents, or badly reconstructed.

``python -m benchmarks.outliers`` compares the methods on the simulated sky. Whitened latents
separate artefacts and unseen classes far better than raw latents. The local outlier factor does
so better than the distance to neighbours. The reconstruction error finds structure that the
latents do not encode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from galaxy_da.errors import LatentIndexError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Selection, Subset
from galaxy_da.queries.disagreement import disagreement
from galaxy_da.queries.neighbours import local_outlier_factor, whitened
from galaxy_da.queries.rows import BATCH, result_table, select, without_self

__all__ = ["METHODS", "OutlierMethod", "outlier_score", "outliers"]

METHODS = ("combined", "knn", "lof", "forest", "reconstruction", "disagreement")
"""Names of the methods; see `OutlierMethod`."""

_NEIGHBOURS = {"knn": 10, "lof": 20, "combined": 20}
_TREES = 200
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class OutlierMethod:
    """Definition of the outlier score.

    Attributes
    ----------
    name : str
        ``combined`` : the higher of the ranks by ``lof`` and by ``reconstruction``, as a share.
        ``knn`` : mean distance to the nearest neighbours (Angiulli & Pizzuti 2002, PKDD).
        ``lof`` : local outlier factor (Breunig et al. 2000, SIGMOD) of whitened latents.
        ``forest`` : isolation forest (Liu, Ting & Zhou 2008, ICDM).
        ``reconstruction`` : reconstruction error over the median of its survey.
        ``disagreement`` : distance between two surveys' images of one galaxy over the expected
        distance (`galaxy_da.queries.disagreement`); one row for each pair of images.
    neighbours : int, optional
        Number of neighbours of ``knn`` (default 10), ``lof`` and ``combined`` (20); fewer if the
        selection has fewer objects.
    radius_arcsec : float
        Largest separation of the two positions of a galaxy, for ``disagreement`` [arcsec].
    """

    name: str = "combined"
    neighbours: int | None = None
    radius_arcsec: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)} but is {self.name!r}")
        if self.neighbours is not None and self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1 but is {self.neighbours}")


def outliers(
    index: StoredIndex,
    survey: str | None = None,
    k: int = 50,
    method: str | OutlierMethod = "combined",
    *,
    within: Subset | None = None,
) -> pa.Table:
    """Rank galaxies by outlier score, the highest first.

    Parameters
    ----------
    index, k, within
        As for `galaxy_da.queries.similar.similar`.
    survey : str, optional
        Survey whose objects are ranked among themselves; by default the whole index.
    method : str or OutlierMethod
        One of `METHODS`, or a method with its settings.

    Returns
    -------
    pa.Table
        ``rank`` (from 1), ``survey``, ``object_id``, ``ra``, ``dec`` [deg], ``outlier_score``,
        ``flags``. With ``disagreement`` also ``other_survey``, ``other_id``,
        ``separation_arcsec`` and ``distance``, and the flags of both.

    Raises
    ------
    LatentIndexError
        If fewer than two objects are left, the index lacks a column that the method needs, or too
        few pairs for ``disagreement``.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1 but is {k}")
    chosen = _as_method(method)
    if chosen.name == "disagreement":
        return disagreement(index, select(index, None, within), survey, k, chosen.radius_arcsec)
    selection = select(index, survey, within)
    score = outlier_score(index, selection, chosen)
    highest = np.argsort(-score, kind="stable")[:k]
    return result_table(index, selection.rows[highest], outlier_score=score[highest])


def outlier_score(
    index: StoredIndex, selection: Selection, method: str | OutlierMethod = "combined"
) -> np.ndarray:
    """Return the score of each selected object among the selected objects, in row order.

    Any method but ``disagreement`` gives one.
    """
    if len(selection) < 2:
        raise LatentIndexError(
            "the selection has one object only; ranking outliers takes at least two"
        )
    chosen = _as_method(method)
    rows, count = selection.rows, chosen.neighbours or _NEIGHBOURS.get(chosen.name, 0)
    scores: Mapping[str, Callable[[], np.ndarray]] = {
        "combined": lambda: _higher_rank(
            local_outlier_factor(whitened(index.vectors[rows]), count), _reconstruction(index, rows)
        ),
        "knn": lambda: _neighbour_distance(index, selection, count),
        "lof": lambda: local_outlier_factor(whitened(index.vectors[rows]), count),
        "forest": lambda: _isolation(index.vectors[rows]),
        "reconstruction": lambda: _reconstruction(index, rows),
    }
    if chosen.name not in scores:
        raise ValueError(f"method must be one of {', '.join(scores)} but is {chosen.name!r}")
    return scores[chosen.name]()


def _as_method(method: str | OutlierMethod) -> OutlierMethod:
    return OutlierMethod(name=method) if isinstance(method, str) else method


def _neighbour_distance(index: StoredIndex, selection: Selection, count: int) -> np.ndarray:
    rows = selection.rows
    score = np.empty(len(rows), np.float32)
    for low in range(0, len(rows), BATCH):
        own = rows[low : low + BATCH]
        distances, _ = without_self(own, *index.search(index.vectors[own], count + 1, selection))
        score[low : low + BATCH] = distances.mean(axis=1)
    return score


def _isolation(points: np.ndarray) -> np.ndarray:
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=_TREES, random_state=_SEED).fit(points)
    return np.asarray(-forest.score_samples(points))


def _reconstruction(index: StoredIndex, rows: np.ndarray) -> np.ndarray:
    """Return reconstruction errors over the median of their survey."""
    if "reconstruction_error" not in index.rows.column_names:
        error = np.full(len(rows), np.nan)
    else:
        table = index.take(rows, ["survey", "reconstruction_error"])
        error = table["reconstruction_error"].to_numpy().astype(float)
    if not np.isfinite(error).all():
        raise LatentIndexError(
            "the index lacks reconstruction errors; extract without --no-reconstruct, or rank by "
            "another method, such as lof"
        )
    names = table["survey"].to_numpy()
    for name in np.unique(names):
        own = names == name
        error[own] /= max(float(np.median(error[own])), np.finfo(np.float32).tiny)
    return error


def _higher_rank(*scores: np.ndarray) -> np.ndarray:
    """Return the share of objects that score no more, by the score that ranks an object higher."""
    from scipy.stats import rankdata

    return np.asarray(np.max([rankdata(score, "max") / len(score) for score in scores], axis=0))
