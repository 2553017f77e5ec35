"""Odd galaxies in the order a person cares for, learnt from a few scores.

As Astronomaly does (Lochner & Bassett 2021, Astronomy and Computing 36, 100481): a regression
predicts the person's score everywhere; near to scored galaxies it is believed, far from them the
outlier score is.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import LatentIndexError, TableError
from galaxy_da.index.reading import StoredIndex
from galaxy_da.index.selections import Condition, Cone
from galaxy_da.queries.neighbours import whitened
from galaxy_da.queries.outliers import outlier_score
from galaxy_da.queries.rows import BATCH, answer, conditions, rows_of

__all__ = ["BEST_SCORE", "rank", "trained_scores"]

BEST_SCORE = 5.0
"""What a person gives a galaxy they want more of; 0 is for one they want no more of."""

_LEAST_BELIEF = 0.1
_TREES = 50
_SEED = 0


def rank(
    index: StoredIndex,
    scores: pa.Table,
    survey: str | None = None,
    method: str = "combined",
    *,
    start: pa.Table | None = None,
    clean: bool = False,
    where: Condition | Iterable[Condition] = (),
    cone: Cone | None = None,
) -> pa.Table:
    """Rank all galaxies anew by outlier score and a person's scores of some of them.

    Parameters
    ----------
    index : StoredIndex
        Where they are.
    scores : pa.Table
        ``survey``, ``object_id`` and ``score`` (0 to `BEST_SCORE`); may be of any galaxies of the
        index.
    survey, method, clean, where, cone
        As for `galaxy_da.queries.outliers.outliers`, without ``disagreement``.
    start : pa.Table, optional
        An earlier answer, whose objects and outlier scores are taken over, so that only the
        learning is done.

    Returns
    -------
    pa.Table
        ``rank`` (from 1), ``survey``, ``object_id``, ``ra``, ``dec`` [deg], ``outlier_score``,
        ``predicted_score`` (0 to 5), ``trained_score``, ``score`` (null where the person gave
        none), ``flags``; all objects, the best first.

    Raises
    ------
    LatentIndexError
        If the survey or a column is not in the index, none of the scored galaxies or not all
        objects of `start` are, or fewer than two objects are left.
    TableError
        If a table lacks a column, a galaxy is scored twice, or a score is missing or not between 0
        and 5.
    ValueError
        If the method is none of those, or a condition cannot be read.
    """
    if start is None:
        within = index.select(survey, where=conditions(where, clean), cone=cone)
        rows, odd = within.rows, outlier_score(index, within, method)
    else:
        _check_columns(start, ("survey", "object_id", "outlier_score"), "start")
        rows, odd = _found(index, start), start["outlier_score"].to_numpy()
        if (rows < 0).any():
            raise LatentIndexError(
                f"{(rows < 0).sum()} of the {len(rows)} objects of the earlier ranking are not in "
                "this index any more; rank without it"
            )
    scored, given = _scored(index, scores)
    points = whitened(index.vectors[rows])
    predicted, trained = trained_scores(
        points, odd, whitened(index.vectors[scored], index.vectors[rows]), given
    )
    order = np.argsort(-trained, kind="stable")
    own = np.full(len(index), np.nan)
    own[scored] = given
    person = own[rows[order]]
    return answer(
        index,
        rows[order],
        outlier_score=odd[order],
        predicted_score=predicted[order],
        trained_score=trained[order],
        score=pa.array(person, mask=np.isnan(person)),
    )


def trained_scores(
    points: np.ndarray, odd: np.ndarray, scored: np.ndarray, given: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weigh outlier scores with what a person is predicted to say.

    Parameters
    ----------
    points : (n, d) float array
        All galaxies.
    odd : (n,) float array
        Their outlier scores, not negative.
    scored : (m, d) float array
        The galaxies a person has scored.
    given : (m,) float array
        Their scores, 0 to `BEST_SCORE`.

    Returns
    -------
    predicted, trained : (n,) float64 arrays
        The person's score by random forest; and ``odd tanh(exp(d) - 1 + artanh(u))``, where u is
        the predicted score brought to 0.1 to 1 and d the distance to the nearest scored galaxy over
        its mean.

    References
    ----------
    Lochner & Bassett 2021, Astronomy and Computing 36, 100481, section 2.5.
    """
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(n_estimators=_TREES, random_state=_SEED).fit(scored, given)
    predicted = np.clip(forest.predict(points), 0, BEST_SCORE)
    distance = _to_nearest(points, scored)
    relative = distance / max(float(distance.mean()), np.finfo(np.float32).tiny)
    belief = _LEAST_BELIEF + (1 - _LEAST_BELIEF) * predicted / BEST_SCORE
    with np.errstate(divide="ignore"):
        weight = np.tanh(np.exp(np.minimum(relative, 50)) - 1 + np.arctanh(np.minimum(belief, 1)))
    return predicted, odd * weight


def _to_nearest(points: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Distance to the nearest scored galaxy, exactly 0 for itself."""
    nearest = np.empty(len(points))
    for low in range(0, len(points), BATCH):
        some = points[low : low + BATCH]
        squared = np.square(scored).sum(1) - 2 * some @ scored.T
        nearest[low : low + BATCH] = np.linalg.norm(some - scored[squared.argmin(1)], axis=1)
    return nearest


def _scored(index: StoredIndex, scores: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Rows and scores of the scored galaxies that are in the index."""
    _check_columns(scores, ("survey", "object_id", "score"), "scores")
    given = pc.fill_null(scores["score"].cast(pa.float64()), np.nan).to_numpy()
    if not ((given >= 0) & (given <= BEST_SCORE)).all():
        raise TableError(f"scores: score must be 0 to {BEST_SCORE:g} in every row")
    rows = _found(index, scores)
    if not (rows >= 0).any():
        raise LatentIndexError(f"none of the {len(rows)} scored galaxies is in this index")
    rows, given = rows[rows >= 0], given[rows >= 0]
    if len(np.unique(rows)) < len(rows):
        twice = int(rows[np.argmax(np.bincount(rows)[rows] > 1)])
        raise TableError(f"scores: {index.key(twice)} comes more than once; score a galaxy once")
    return rows, given


def _found(index: StoredIndex, table: pa.Table) -> np.ndarray:
    """Row numbers of a table's objects, -1 where they are not in the index."""
    names = table["survey"].cast(pa.string())
    rows = np.full(table.num_rows, -1)
    for survey in index.surveys:
        own = pc.fill_null(pc.equal(names, survey), False).to_numpy()
        rows[own] = rows_of(index, survey, table["object_id"].filter(pa.array(own)))
    return rows


def _check_columns(table: pa.Table, needed: tuple[str, ...], what: str) -> None:
    lacking = [name for name in needed if name not in table.column_names]
    if lacking:
        raise TableError(
            f"{what}: column {lacking[0]!r} is missing; it has {', '.join(table.column_names)}"
        )
