"""Transfer of morphology: train a classifier on the anchor's latents, test on another survey's."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix, f1_score

from evaluation.calibration import expected_calibration_error

_TREES = 300


class MorphologyClassifier:
    """A random forest fitted to latents of the anchor's training galaxies alone."""

    def __init__(self, latents: np.ndarray, labels: np.ndarray, seed: int = 0) -> None:
        forest = RandomForestClassifier(_TREES, min_samples_leaf=2, random_state=seed)
        self._forest = forest.fit(latents, labels)

    def score(self, latents: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Test the classifier on latents of other galaxies, in any survey.

        Returns ``accuracy``, ``macro_f1``, and ``ece``, the expected calibration error of the
        probability of the predicted class.
        """
        probability = self._forest.predict_proba(latents)
        predicted = self._forest.classes_[probability.argmax(1)]
        right = predicted == labels
        return {
            "accuracy": float(right.mean()),
            "macro_f1": float(f1_score(labels, predicted, average="macro")),
            "ece": expected_calibration_error(probability.max(1).clip(0, 1), right),
        }

    def confusion(self, latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Count galaxies by true class (rows) and predicted class (columns).

        Classes are those of the training galaxies, sorted; galaxies of other classes are left out.
        """
        predicted = self._forest.predict(latents)
        return np.asarray(confusion_matrix(labels, predicted, labels=self._forest.classes_))


def gap_closed(before: float, after: float, in_domain: float) -> float | None:
    """Share of the gap between the scores by definition and in-domain that adaptation closes.

    It is 1 if the adapted score reaches the in-domain one, negative if it is worse than before, and
    None if there is no gap.
    """
    return (after - before) / (in_domain - before) if in_domain > before else None
