"""Measure how much real labels are worth, beside the probes that were fitted to simulations.

``python -m benchmarks.real.labels DATA [--space SPACE]`` takes the SDSS pictures of Galaxy Zoo 1 in
DATA, the folder of the real images, that the training left out. Logistic regression on the galaxy
latents is fitted to some labels, and tested on galaxies in other folds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.real.encoding import options
from benchmarks.real.training_scenes import unseen
from benchmarks.support.tables import print_rows
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.features import Features, vectors
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import write_table
from galaxy_da.space import LatentSpace

_LABELS = (30, 100, 300, 1000)
_FOLDS, _REPEATS = 5, 10
_PENALTY = 0.1  # inverse, in standardised latents
_PIXEL_ARCSEC = 0.3  # assumed; the pictures are scaled to the size of each galaxy
_CLASSES = ("elliptical", "spiral_cw", "spiral_acw", "edge_on")
_QUESTIONS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "features or a disc": (_CLASSES[1:], "morph_p_featured"),
    "edge-on": (("edge_on",), "morph_p_edge_on"),
}
"""Classes that answer a question with yes, and the column of a simulated probe, by question."""


def label_rows(space: LatentSpace, data: Path, seed: int = 0) -> list[dict[str, Any]]:
    """Return `learning_curve` and the AUC of the simulated probe for each question."""
    table = _encoded(space, data / "sdss_galaxy_zoo1.parquet").ok()
    latents = vectors(table, "embedding")
    classes = np.array(table["gz1_class"].to_pylist())
    rows = []
    for question, (yes, column) in _QUESTIONS.items():
        answer = np.isin(classes, yes)
        counts = {"yes": int(answer.sum()), "no": int((~answer).sum())}
        probability = table[column].to_numpy()
        known = np.isfinite(probability)
        auc = float(roc_auc_score(answer[known], probability[known]))
        rows.append(
            {
                "question": question,
                **counts,
                "labels": "none, simulated",
                "auc": auc,
                "scatter": 0.0,
            }
        )
        curve = learning_curve(latents, answer, seed)
        rows += [{"question": question, **counts, **row} for row in curve]
    return rows


def learning_curve(latents: np.ndarray, answer: np.ndarray, seed: int = 0) -> list[dict[str, Any]]:
    """Return the AUC of galaxies in held-out folds by number of labels, mean and scatter of ten.

    `latents` are (n, d), `answer` (n,) bool. The labels are drawn from the other folds, with the
    shares of both answers. Numbers that the folds do not hold are left out.
    """
    rows = []
    for labels in _LABELS:
        if labels >= len(answer) * (_FOLDS - 1) // _FOLDS:
            continue
        found = [_held_out_auc(latents, answer, labels, seed + k) for k in range(_REPEATS)]
        rows.append({"labels": str(labels), "auc": np.mean(found), "scatter": np.std(found)})
    return rows


def _held_out_auc(latents: np.ndarray, answer: np.ndarray, labels: int, seed: int) -> float:
    score = np.zeros(len(answer))
    for known, tested in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(
        latents, answer
    ):
        some, _ = train_test_split(
            known, train_size=labels, stratify=answer[known], random_state=seed
        )
        model = make_pipeline(StandardScaler(), LogisticRegression(C=_PENALTY, max_iter=1000))
        score[tested] = model.fit(latents[some], answer[some]).decision_function(latents[tested])
    return float(roc_auc_score(answer, score))


def _encoded(space: LatentSpace, path: Path) -> Features:
    """Extract the pictures that the training left out, with their class."""
    table = pq.read_table(path)
    ids = table["object_id"].cast(pa.string()).to_pylist()
    wanted = unseen(ids) & np.isin(table["gz1_class"].to_pylist(), _CLASSES)
    table = table.filter(pa.array(wanted))
    n = len(table)
    sample = {
        "object_id": table["object_id"].cast(pa.string()),
        "survey": pa.array(["sdss"] * n),
        "ra": np.linspace(0, 360, n, endpoint=False),
        "dec": np.zeros(n),
        "pixel_scale_arcsec": np.full(n, _PIXEL_ARCSEC),
        "stretch": pa.array(["galaxy-zoo-1"] * n),
        "gz1_class": table["gz1_class"],
        "image": table["image"],
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "zoo.parquet"
        write_table(pa.table(sample), file)
        return extract(space, Sample(file))


def main() -> None:
    """Print the table."""
    given = options("labels", __doc__)
    rows = label_rows(LatentSpace.load(given.space), given.data)
    print_rows("AUC by number of labels, SDSS pictures of Galaxy Zoo 1", rows)


if __name__ == "__main__":
    main()
