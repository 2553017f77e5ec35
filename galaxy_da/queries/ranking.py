"""Active learning: outliers ranked by a person's interest, learnt from a few scores.

The method is that of Astronomaly (Lochner & Bassett 2021, Astronomy and Computing 36, 100481). A
regression predicts the person's score of every galaxy. Near scored galaxies the rank follows the
prediction, far from them the outlier score.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import LatentIndexError, TableError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Subset
from galaxy_da.io.tables import check_columns
from galaxy_da.queries.neighbours import whitened
from galaxy_da.queries.outliers import OutlierMethod, outlier_score
from galaxy_da.queries.rows import result_table, rows_of, select

__all__ = ["BEST_SCORE", "rank", "trained_scores"]

BEST_SCORE = 5.0
"""Score of a galaxy of which the person wants more; 0 means no more of its kind."""

_LEAST_BELIEF = 0.1
_TREES = 50
_SEED = 0


def rank(
    index: StoredIndex,
    scores: pa.Table,
    survey: str | None = None,
    method: str | OutlierMethod = "combined",
    *,
    start: pa.Table | None = None,
    within: Subset | None = None,
) -> pa.Table:
    """Rank all galaxies by outlier score and by a person's scores of some of them.

    Parameters
    ----------
    index, survey, method, within
        As for `galaxy_da.queries.outliers.outliers`, without ``disagreement``.
    scores : pa.Table
        ``survey``, ``object_id`` and ``score`` (0 to `BEST_SCORE`) of any galaxies of the index.
    start : pa.Table, optional
        An earlier result, whose objects and outlier scores are used again to save time.

    Returns
    -------
    pa.Table
        ``rank`` (from 1), ``survey``, ``object_id``, ``ra``, ``dec`` [deg], ``outlier_score``,
        ``predicted_score`` (0 to 5), ``trained_score``, ``score`` (null if the person gave
        none), ``flags``; all objects, the highest ``trained_score`` first.

    Raises
    ------
    LatentIndexError
        If no scored galaxy or not every object of `start` is in the index.
    TableError
        If a table lacks a column, a galaxy is scored twice, or a score is missing or not 0 to 5.
    """
    if start is None:
        selection = select(index, survey, within)
        rows, outlier = selection.rows, outlier_score(index, selection, method)
    else:
        check_columns(start, ("survey", "object_id", "outlier_score"), "start")
        rows, outlier = _rows(index, start), start["outlier_score"].to_numpy()
        if (rows < 0).any():
            raise LatentIndexError(
                f"{(rows < 0).sum()} of the {len(rows)} objects of the earlier ranking are not in "
                "this index any more; rank without it"
            )
    scored, score = _scored(index, scores)
    points = whitened(index.vectors[rows])
    predicted, trained = trained_scores(
        points, outlier, whitened(index.vectors[scored], index.vectors[rows]), score
    )
    order = np.argsort(-trained, kind="stable")
    by_row = np.full(len(index), np.nan)
    by_row[scored] = score
    person = by_row[rows[order]]
    return result_table(
        index,
        rows[order],
        outlier_score=outlier[order],
        predicted_score=predicted[order],
        trained_score=trained[order],
        score=pa.array(person, mask=np.isnan(person)),
    )


def trained_scores(
    points: np.ndarray, outlier: np.ndarray, scored: np.ndarray, score: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight the outlier scores of all galaxies with the predicted score of a person.

    `points` (n, d) and `scored` (m, d) are whitened latents, `outlier` (n,) and `score` (m,) scores
    that are not negative. Returns the person's score predicted by a random forest, and ``outlier
    tanh(exp(d) - 1 + artanh(u))``, where u is the predicted score scaled to 0.1 to 1, and d is the
    distance to the nearest scored galaxy over its mean (section 2.5 of the paper).
    """
    from scipy.spatial import cKDTree
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(n_estimators=_TREES, random_state=_SEED).fit(scored, score)
    predicted = np.clip(forest.predict(points), 0, BEST_SCORE)
    distance = np.asarray(cKDTree(scored).query(points)[0])
    distance = distance.astype(np.float32).astype(np.float64)  # its mean then ignores the order
    relative = distance / max(float(distance.mean()), np.finfo(np.float32).tiny)
    belief = _LEAST_BELIEF + (1 - _LEAST_BELIEF) * predicted / BEST_SCORE
    with np.errstate(divide="ignore"):
        weight = np.tanh(np.exp(np.minimum(relative, 50)) - 1 + np.arctanh(np.minimum(belief, 1)))
    return predicted, outlier * weight


def _scored(index: StoredIndex, scores: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and scores of the scored galaxies that are in the index."""
    check_columns(scores, ("survey", "object_id", "score"), "scores")
    score = pc.fill_null(scores["score"].cast(pa.float64()), np.nan).to_numpy()
    if not ((score >= 0) & (score <= BEST_SCORE)).all():
        raise TableError(f"scores: score must be 0 to {BEST_SCORE:g} in every row")
    rows = _rows(index, scores)
    if not (rows >= 0).any():
        raise LatentIndexError(f"none of the {len(rows)} scored galaxies is in this index")
    rows, score = rows[rows >= 0], score[rows >= 0]
    if len(np.unique(rows)) < len(rows):
        twice = int(rows[np.argmax(np.bincount(rows)[rows] > 1)])
        raise TableError(f"scores: {index.key(twice)} comes more than once; score a galaxy once")
    return rows, score


def _rows(index: StoredIndex, table: pa.Table) -> np.ndarray:
    """Return row numbers of a table's objects, -1 for those not in the index."""
    names = table["survey"].cast(pa.string())
    rows = np.full(table.num_rows, -1)
    for survey in index.surveys:
        own = pc.fill_null(pc.equal(names, survey), False).to_numpy()
        rows[own] = rows_of(index, survey, table["object_id"].filter(pa.array(own)))
    return rows
