"""How well a ranking finds what is odd: recall at 1%, AUC, and purity of its top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import roc_auc_score

from benchmarks.outliers.injected import ORDINARY
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.outliers import METHODS

__all__ = ["detection", "method_rows", "purity", "ranked_kinds"]


def detection(score: np.ndarray, odd: np.ndarray, share: float = 0.01) -> tuple[float, float]:
    """Measure how well a score tells odd objects from ordinary ones.

    Parameters
    ----------
    score : (n,) float array
        Higher is odder.
    odd : (n,) bool array
        Which are; both kinds must be there.
    share : float
        Of the ordinary ones that may be above the threshold.

    Returns
    -------
    recall, auc : float
        Share of the odd above all but `share` of the ordinary, and the probability that an odd
        object scores higher than an ordinary one.

    Raises
    ------
    ValueError
        If all are odd or none is.
    """
    if odd.all() or not odd.any():
        raise ValueError(f"{odd.sum()} of {len(odd)} objects are odd; some must be, and some not")
    threshold = np.quantile(score[~odd], 1 - share)
    return float((score[odd] > threshold).mean()), float(roc_auc_score(odd, score))


def purity(odd: np.ndarray, top: int) -> float:
    """Share of the first `top` objects of a ranking that are odd, (n,) bool in its order."""
    return float(odd[:top].mean())


def ranked_kinds(
    index: LatentIndex, method: str, survey: str | None, *, clean: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Rank a whole survey of an odd sky, or by disagreement all pairs of images.

    Returns
    -------
    score : (n,) float array
        Descending.
    kinds : (n,) object array
        What is odd about each image, or either image of a pair.
    """
    found = index.outliers(survey, len(index), method, clean=clean)
    kinds = _kinds(index, found["survey"], found["object_id"])
    if "other_id" in found.column_names:
        other = _kinds(index, found["other_survey"], found["other_id"])
        kinds = np.where(kinds == ORDINARY, other, kinds)
    return found["outlier_score"].to_numpy(), kinds


def method_rows(
    indexes: Sequence[LatentIndex], surveys: Sequence[str], methods: Sequence[str] = METHODS
) -> list[dict[str, Any]]:
    """Compare the methods on odd skies, kind by kind.

    Parameters
    ----------
    indexes : sequence of LatentIndex
        One of each sky, with ``kind`` (`benchmarks.outliers.injected`).
    surveys : sequence of str
        Ranked one by one; by disagreement together.
    methods : sequence of str
        Which.

    Returns
    -------
    list of dict
        Two rows per method: ``method``, ``measure`` (recall at 1%, AUC), a column per kind, means
        over skies and surveys, and their ``mean``, without mismatches, which one survey cannot see.
    """
    rows = []
    for method in methods:
        groups = [None] if method == "disagreement" else surveys
        parts = [
            _by_kind(*ranked_kinds(index, method, survey)) for index in indexes for survey in groups
        ]
        names = sorted({name for part in parts for name in part})
        for place, measure in enumerate(("recall at 1%", "AUC")):
            row: dict[str, Any] = {"method": method, "measure": measure}
            for name in names:
                if not (name == "mismatch" and method != "disagreement"):
                    values = [part[name][place] for part in parts if name in part]
                    row[name] = float(np.mean(values))
            row["mean"] = float(
                np.mean([row[name] for name in names if name in row and name != "mismatch"])
            )
            rows.append(row)
    return rows


def _by_kind(score: np.ndarray, kinds: np.ndarray) -> Mapping[str, tuple[float, float]]:
    """Recall and AUC of each kind among the ordinary."""
    ordinary = kinds == ORDINARY
    found = {}
    for name in set(kinds[~ordinary]):
        some = ordinary | (kinds == name)
        found[name] = detection(score[some], ~ordinary[some])
    return found


def _kinds(index: LatentIndex, surveys: pa.ChunkedArray, ids: pa.ChunkedArray) -> np.ndarray:
    rows = [
        index.row(f"{survey}:{object_id}")
        for survey, object_id in zip(surveys.to_pylist(), ids.to_pylist(), strict=True)
    ]
    return np.array(index.take(np.array(rows), ["kind"])["kind"].to_pylist(), dtype=object)
