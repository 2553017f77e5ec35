"""Whether morphology transfers: a classifier of the anchor's latents on another survey's."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix, f1_score

from evaluation.calibration import expected_calibration_error

__all__ = ["MorphologyClassifier", "gap_closed"]

_TREES = 300


class MorphologyClassifier:
    """A random forest fitted to latents of the anchor alone.

    Parameters
    ----------
    latents : (n, d) float array
        Of the anchor's training galaxies.
    labels : (n,) array
        Their classes.
    seed : int
        Of the forest.
    """

    def __init__(self, latents: np.ndarray, labels: np.ndarray, seed: int = 0) -> None:
        forest = RandomForestClassifier(_TREES, min_samples_leaf=2, random_state=seed)
        self._forest = forest.fit(latents, labels)

    def score(self, latents: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Test it.

        Parameters
        ----------
        latents : (n, d) float array
            Of other galaxies, in any survey.
        labels : (n,) array
            Their classes.

        Returns
        -------
        dict
            ``accuracy``, ``macro_f1``, and ``ece``, the expected calibration error of the
            probability given to the class chosen.
        """
        probability = self._forest.predict_proba(latents)
        chosen = self._forest.classes_[probability.argmax(1)]
        right = chosen == labels
        return {
            "accuracy": float(right.mean()),
            "macro_f1": float(f1_score(labels, chosen, average="macro")),
            "ece": expected_calibration_error(probability.max(1).clip(0, 1), right),
        }

    def confusion(self, latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(classes, classes) int: galaxies by true class (rows) and class chosen (columns).

        Classes are those fitted, sorted; galaxies of others are left out.
        """
        chosen = self._forest.predict(latents)
        return np.asarray(confusion_matrix(labels, chosen, labels=self._forest.classes_))


def gap_closed(before: float, after: float, in_domain: float) -> float | None:
    """Share of the way from the un-adapted score to the in-domain one.

    Returns
    -------
    float or None
        1 where adapted is as good as in-domain; negative where it is worse than before; None where
        there is no gap to close.
    """
    return (after - before) / (in_domain - before) if in_domain > before else None
