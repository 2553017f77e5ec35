"""Active learning: strange galaxies ranked by a person's interest, learnt from a few scores.

As in Astronomaly (Lochner & Bassett 2021, Astronomy and Computing 36, 100481), a model predicts the
person's score of every galaxy and is weighed with the outlier score. ``python -m
benchmarks.outliers`` measures how many galaxies of an unseen class a person finds.
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
from galaxy_da.queries.outliers import STRANGE, strange_galaxies
from galaxy_da.queries.rows import result_table, rows_of

BEST_SCORE = 5.0
"""Score of a galaxy of which the person wants more; 0 means no more of its kind."""

_LEAST_SHARE = 0.02  # so that neither class is empty
_INVERSE_PENALTY = 0.1
_STEPS = 500


def rank(
    index: StoredIndex,
    scores: pa.Table,
    survey: str | None = None,
    *,
    start: pa.Table | None = None,
    within: Subset | None = None,
) -> pa.Table:
    """Rank galaxies by outlier score and by a person's scores of some of them.

    Bad data are left out; see `galaxy_da.queries.outliers.outliers`.

    Parameters
    ----------
    index, survey, within
        As for `galaxy_da.queries.outliers.outliers`.
    scores : pa.Table
        ``survey``, ``object_id`` and ``score`` (0 to `BEST_SCORE`) of any galaxies of the index.
    start : pa.Table, optional
        An earlier result, of this function or of `galaxy_da.queries.outliers.outliers`, whose
        galaxies and outlier scores are used again to save time.

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
        strange = strange_galaxies(index, survey, within)
        rows, outlier = strange.rows, strange.score
    else:
        check_columns(start, ("survey", "object_id", "outlier_score"), "start")
        if "ranking" in start.column_names:
            start = start.filter(pc.equal(start["ranking"], STRANGE))
        rows, outlier = rows_in(index, start), start["outlier_score"].to_numpy()
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
    that are not negative. A logistic regression predicts the person's score: each scored galaxy
    counts as wanted with the weight of its score, and as unwanted with the rest; both classes weigh
    the same. Returns the predicted score, and the probability of wanted galaxies at prior odds in
    proportion to the root of the outlier score.
    """
    from scipy.special import expit
    from sklearn.linear_model import LogisticRegression

    wanted = np.clip(score / BEST_SCORE, _LEAST_SHARE, 1 - _LEAST_SHARE)
    shares = np.concatenate([wanted / wanted.mean(), (1 - wanted) / (1 - wanted).mean()]) / 2
    labels = np.repeat([1, 0], len(scored))
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_STEPS)
    model.fit(np.concatenate([scored, scored]), labels, sample_weight=shares)
    log_odds = model.decision_function(points)
    prior = np.log(np.maximum(outlier, np.finfo(np.float32).tiny)) / 2
    return BEST_SCORE * expit(log_odds), np.asarray(expit(log_odds + prior))


def _scored(index: StoredIndex, scores: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and scores of the scored galaxies that are in the index."""
    check_columns(scores, ("survey", "object_id", "score"), "scores")
    score = pc.fill_null(scores["score"].cast(pa.float64()), np.nan).to_numpy()
    if not ((score >= 0) & (score <= BEST_SCORE)).all():
        raise TableError(f"scores: score must be 0 to {BEST_SCORE:g} in every row")
    rows = rows_in(index, scores)
    if not (rows >= 0).any():
        raise LatentIndexError(f"none of the {len(rows)} scored galaxies is in this index")
    rows, score = rows[rows >= 0], score[rows >= 0]
    if len(np.unique(rows)) < len(rows):
        twice = int(rows[np.argmax(np.bincount(rows)[rows] > 1)])
        raise TableError(f"scores: {index.key(twice)} comes more than once; score a galaxy once")
    return rows, score


def rows_in(index: StoredIndex, table: pa.Table) -> np.ndarray:
    """Return row numbers of a table's objects, -1 for those not in the index."""
    names = table["survey"].cast(pa.string())
    rows = np.full(table.num_rows, -1)
    for survey in index.surveys:
        own = pc.fill_null(pc.equal(names, survey), False).to_numpy()
        rows[own] = rows_of(index, survey, table["object_id"].filter(pa.array(own)))
    return rows
