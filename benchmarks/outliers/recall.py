"""Measure outlier rankings: recall at 1% false alarms, AUC, and purity of the top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import roc_auc_score

from benchmarks.outliers.injected import ORDINARY
from galaxy_da.index import Subset
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.outliers import METHODS

__all__ = ["detection", "method_rows", "purity", "ranked_kinds"]


def detection(
    score: np.ndarray, is_outlier: np.ndarray, share: float = 0.01
) -> tuple[float, float]:
    """Measure how well a score separates outliers from ordinary objects.

    Parameters
    ----------
    score : (n,) float array
        Outlier score, higher for outliers.
    is_outlier : (n,) bool array
        True for outliers; both must occur.
    share : float
        Share of ordinary objects above the threshold.

    Returns
    -------
    recall, auc : float
        Share of outliers above that threshold, and the probability that an outlier scores higher
        than an ordinary object.

    Raises
    ------
    ValueError
        If all objects are outliers or none is.
    """
    if is_outlier.all() or not is_outlier.any():
        raise ValueError(
            f"{is_outlier.sum()} of {len(is_outlier)} objects are outliers; both kinds are needed"
        )
    threshold = np.quantile(score[~is_outlier], 1 - share)
    return float((score[is_outlier] > threshold).mean()), float(roc_auc_score(is_outlier, score))


def purity(is_outlier: np.ndarray, top: int) -> float:
    """Return the share of outliers, (n,) bool in ranked order, among the first `top`."""
    return float(is_outlier[:top].mean())


def ranked_kinds(
    index: LatentIndex, method: str, survey: str | None, *, clean: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Rank all images of a survey, or by disagreement all pairs of images.

    Returns
    -------
    score : (n,) float array
        Descending.
    kinds : (n,) object array
        Kind of each image, or of either image of a pair.
    """
    found = index.outliers(survey, len(index), method, within=Subset(clean=clean))
    kinds = _kinds(index, found["survey"], found["object_id"])
    if "other_id" in found.column_names:
        other = _kinds(index, found["other_survey"], found["other_id"])
        kinds = np.where(kinds == ORDINARY, other, kinds)
    return found["outlier_score"].to_numpy(), kinds


def method_rows(
    indexes: Sequence[LatentIndex], surveys: Sequence[str], methods: Sequence[str] = METHODS
) -> list[dict[str, Any]]:
    """Compare methods on skies with outliers, kind by kind.

    Parameters
    ----------
    indexes : sequence of LatentIndex
        Index of each sky, with ``kind`` (`benchmarks.outliers.injected`).
    surveys : sequence of str
        Surveys, ranked separately; by disagreement together.
    methods : sequence of str
        Methods of outlier ranking.

    Returns
    -------
    list of dict
        Two rows per method: ``method``, ``measure`` (recall at 1%, AUC), a column per kind with the
        mean over skies and surveys, and their ``mean`` without mismatches, which show between
        surveys only.
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
    """Return recall and AUC of each kind beside ordinary objects."""
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
