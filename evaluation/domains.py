"""Classify latents by survey: surveys that are mixed cannot be separated.

Read it beside retrieval: a collapsed space mixes its surveys perfectly.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_FOLDS = 5


def domain_auc(
    anchor: np.ndarray, target: np.ndarray, cells: np.ndarray, seed: int = 0
) -> dict[str, float]:
    """Cross-validate two classifiers of the survey, by sky cell.

    `anchor` and `target`, (n, d), are latents of the same galaxies in two surveys; `cells`, (n,)
    int, keep each galaxy on one side of a fold. Returns the area under the ROC curve of held-out
    predictions of ``logistic`` and ``boosting``: 0.5 is mixed, 1 is separated.
    """
    if len(np.unique(cells)) < _FOLDS:
        raise ValueError(
            f"domain classification is cross-validated in {_FOLDS} folds of sky cells but the "
            f"galaxies lie in {len(np.unique(cells))} cells"
        )
    latents = np.concatenate([anchor, target])
    survey = np.repeat([0, 1], [len(anchor), len(target)])
    models = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "boosting": HistGradientBoostingClassifier(
            max_iter=100, early_stopping=False, random_state=seed
        ),
    }
    folds, groups = GroupKFold(_FOLDS), np.concatenate([cells, cells])
    return {
        name: float(
            roc_auc_score(
                survey,
                cross_val_predict(
                    model, latents, survey, groups=groups, cv=folds, method="predict_proba"
                )[:, 1],
            )
        )
        for name, model in models.items()
    }
