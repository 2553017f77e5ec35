"""Which galaxies are odd: far from others, or badly reconstructed.

Measured on the simulated sky (``python -m benchmarks.outliers``), whitened latents tell
artefacts and unseen classes far better than latents as they are, and the local outlier factor
better than the distance to neighbours; the reconstruction error finds what latents do not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from galaxy_da.errors import LatentIndexError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Condition, Cone, Selection
from galaxy_da.queries.disagreement import disagreement
from galaxy_da.queries.neighbours import local_outlier_factor, whitened
from galaxy_da.queries.rows import BATCH, answer, conditions, without

__all__ = ["METHODS", "outlier_score", "outliers"]

METHODS = ("combined", "knn", "lof", "forest", "reconstruction", "disagreement")
"""Ways to rank; see `outliers`."""

_NEIGHBOURS = {"knn": 10, "lof": 20, "combined": 20}
_TREES = 200
_SEED = 0


def outliers(
    index: StoredIndex,
    survey: str | None = None,
    k: int = 50,
    method: str = "combined",
    *,
    neighbours: int | None = None,
    radius_arcsec: float = 1.0,
    clean: bool = False,
    where: Condition | Iterable[Condition] = (),
    cone: Cone | None = None,
) -> pa.Table:
    """Rank galaxies, the oddest first.

    Parameters
    ----------
    index : StoredIndex
        Where to look.
    survey : str, optional
        Rank its objects among themselves; by default the whole index.
    k : int
        How many; fewer where there are not so many.
    method : str
        ``combined`` : the higher of the ranks by ``lof`` and by ``reconstruction``, a share.
        ``knn`` : mean distance to the nearest neighbours (Angiulli & Pizzuti 2002, PKDD).
        ``lof`` : local outlier factor (Breunig et al. 2000, SIGMOD) of whitened latents.
        ``forest`` : isolation forest (Liu, Ting & Zhou 2008, ICDM).
        ``reconstruction`` : reconstruction error over the median of its survey.
        ``disagreement`` : distance of two surveys' images of one galaxy beyond what is usual
        (`galaxy_da.queries.disagreement`); one row for each pair of images.
    neighbours : int, optional
        Of ``knn`` (10 by default) and ``lof`` (20), the object itself left out; fewer where there
        are not so many.
    radius_arcsec : float
        How far apart positions of one galaxy may be, for ``disagreement`` [arcsec].
    clean : bool
        Leave out objects with quality flags first, except for substituted bands
        (`galaxy_da.io.samples.Flag`).
    where, cone : optional
        Rank the objects that meet these only (`StoredIndex.select`).

    Returns
    -------
    pa.Table
        ``rank`` (from 1), ``survey``, ``object_id``, ``ra``, ``dec`` [deg], ``outlier_score``,
        ``flags``; oddest first. With ``disagreement`` also ``other_survey``, ``other_id``,
        ``separation_arcsec`` and ``distance``, and the flags of both.

    Raises
    ------
    LatentIndexError
        If the survey or a column is not in the index, fewer than two objects are left, or too few
        pairs for ``disagreement``.
    ValueError
        If k or neighbours < 1, the method is unknown, or a condition cannot be read.
    """
    if k < 1 or (neighbours is not None and neighbours < 1):
        raise ValueError(f"k and neighbours must be at least 1 but are {k} and {neighbours}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)} but is {method!r}")
    met = conditions(where, clean)
    if method == "disagreement":
        within = index.select(where=met, cone=cone)
        return disagreement(index, within, survey, k, radius_arcsec)
    within = index.select(survey, where=met, cone=cone)
    score = outlier_score(index, within, method, neighbours)
    highest = np.argsort(-score, kind="stable")[:k]
    return answer(index, within.rows[highest], outlier_score=score[highest])


def outlier_score(
    index: StoredIndex, within: Selection, method: str = "combined", neighbours: int | None = None
) -> np.ndarray:
    """Score how odd each selected object is among them, in all ways but ``disagreement``.

    Parameters
    ----------
    index : StoredIndex
        Where they are.
    within : Selection
        Which (`StoredIndex.select`).
    method, neighbours
        As for `outliers`.

    Returns
    -------
    (n,) float array
        In the order of ``within.rows``; higher is odder.

    Raises
    ------
    LatentIndexError
        If fewer than two objects are selected, or the index has no reconstruction errors to go by.
    ValueError
        If the method is none of these.
    """
    if len(within) < 2:
        raise LatentIndexError(
            "the selection has one object only; ranking outliers takes at least two"
        )
    rows, count = within.rows, neighbours or _NEIGHBOURS.get(method, 0)
    scores: Mapping[str, Callable[[], np.ndarray]] = {
        "combined": lambda: _higher_rank(
            local_outlier_factor(whitened(index.vectors[rows]), count),
            _reconstruction(index, rows),
        ),
        "knn": lambda: _neighbour_distance(index, within, count),
        "lof": lambda: local_outlier_factor(whitened(index.vectors[rows]), count),
        "forest": lambda: _isolation(index.vectors[rows]),
        "reconstruction": lambda: _reconstruction(index, rows),
    }
    if method not in scores:
        raise ValueError(f"method must be one of {', '.join(scores)} but is {method!r}")
    return scores[method]()


def _neighbour_distance(index: StoredIndex, within: Selection, count: int) -> np.ndarray:
    rows = within.rows
    score = np.empty(len(rows), np.float32)
    for low in range(0, len(rows), BATCH):
        own = rows[low : low + BATCH]
        found, _ = without(own, *index.search(index.vectors[own], count + 1, within))
        score[low : low + BATCH] = found.mean(axis=1)
    return score


def _isolation(points: np.ndarray) -> np.ndarray:
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=_TREES, random_state=_SEED).fit(points)
    return np.asarray(-forest.score_samples(points))


def _reconstruction(index: StoredIndex, rows: np.ndarray) -> np.ndarray:
    """Reconstruction error over the median of its survey's selected objects."""
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
    """Share of objects that score no more, by whichever score puts an object higher."""
    return np.asarray(np.max([rankdata(score, "max") / len(score) for score in scores], axis=0))
