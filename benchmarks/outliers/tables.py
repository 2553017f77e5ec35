"""Rank outliers of simulated skies and of Galaxy Zoo's guide images, and tabulate the results."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.outliers.injected import ORDINARY, simulate_with_outliers
from benchmarks.outliers.recall import detection, purity, ranked_kinds
from benchmarks.real.guide_images import guide_cutout, read_colour, with_stretch
from benchmarks.real.guide_sample import stored_images
from galaxy_da.extraction.pipeline import extract
from galaxy_da.images.cutouts import Cutout
from galaxy_da.index import Subset
from galaxy_da.io.features import Features
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import write_table
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.neighbours import whitened
from galaxy_da.queries.outliers import METHODS
from galaxy_da.queries.ranking import BEST_SCORE, trained_scores
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey

__all__ = [
    "SURVEYS",
    "guide_rows",
    "learning_rows",
    "purity_rows",
    "simulated_indexes",
    "speed_rows",
]

SURVEYS = ("decals", "sdss")
_TOP = 30
_ROUNDS, _PER_ROUND = 4, 15
_ARTEFACT = ("0", "2")  # question and answer for stars or artefacts


def simulated_indexes(
    space: str = "decals", n: int = 800, skies: int = 3, scenes: Path | None = None
) -> list[LatentIndex]:
    """Simulate skies with 2% outliers of each kind and index their DECaLS and SDSS images."""
    loaded, indexes = LatentSpace.load(space), []
    for seed in range(1, skies + 1):
        with tempfile.TemporaryDirectory() as folder:
            definitions = [get_survey(name) for name in SURVEYS]
            each = 2 * (n // 100)
            samples = simulate_with_outliers(
                definitions, n, each, seed=seed, out=Path(folder), scenes=scenes
            )
            features = [extract(loaded, some) for some in samples.values()]
        indexes.append(LatentIndex.build(features))
    return indexes


def purity_rows(indexes: Sequence[LatentIndex], top: int = _TOP) -> list[dict[str, Any]]:
    """Measure the share of outliers, and of rings, among the first objects by each method."""
    rows = []
    for method in METHODS:
        row: dict[str, Any] = {"method": method, "top": top}
        groups = [None] if method == "disagreement" else list(SURVEYS)
        for clean in (False, True):
            ranked = [
                ranked_kinds(index, method, survey, clean=clean)[1]
                for index in indexes
                for survey in groups
            ]
            when = "after cuts" if clean else "before cuts"
            row[f"outliers {when}"] = float(np.mean([purity(k != ORDINARY, top) for k in ranked]))
            row[f"ring {when}"] = float(np.mean([purity(k == "ring", top) for k in ranked]))
        rows.append(row)
    return rows


def learning_rows(indexes: Sequence[LatentIndex], method: str = "combined") -> list[dict[str, Any]]:
    """Measure the share of rings found by a person who scores rings 5 and all else 0.

    Each round scores the next objects of the ranking, which is then learned anew or, for
    comparison, left as it is.
    """
    shares: dict[str, list[list[float]]] = {"outlier score alone": [], "learning": []}
    for index in indexes:
        for survey in SURVEYS:
            found = index.outliers(survey, len(index), method, within=Subset(clean=True))
            rows = np.array([index.row(f"{survey}:{i}") for i in found["object_id"].to_pylist()])
            kinds = np.array(index.take(rows, ["kind"])["kind"].to_pylist())
            for name, curve in shares.items():
                curve.append(_learn(index, found, rows, kinds == "ring", name == "learning"))
    return [
        {
            "ranking": name,
            **{
                f"{(number + 1) * _PER_ROUND} scored": value
                for number, value in enumerate(np.mean(curves, axis=0))
            },
        }
        for name, curves in shares.items()
    ]


def speed_rows(n: int = 100_000, dimension: int = 28, scored: int = 100) -> list[dict[str, Any]]:
    """Time `LatentIndex.rank` from an earlier ranking, the best of three runs."""
    rng = np.random.default_rng(0)
    points = pa.array(rng.standard_normal(n * dimension, dtype=np.float32))
    table = pa.table(
        {
            "object_id": [f"{row:019d}" for row in range(n)],
            "survey": pa.array(["decals"] * n),
            "ra": np.arange(n) * (360 / n),
            "dec": np.zeros(n),
            "flags": np.zeros(n, np.int32),
            "embedding": pa.FixedSizeListArray.from_arrays(points, dimension),
        }
    )
    index = LatentIndex.build(
        [Features(table=table, space_id="benchmark", encoders={"decals": "benchmark"})]
    )
    keys = index.rows.select(["survey", "object_id"])
    before = keys.append_column("outlier_score", pa.array(rng.uniform(size=n)))
    person = pa.array(rng.integers(0, int(BEST_SCORE) + 1, scored).astype(float))
    scores = keys.slice(0, scored).append_column("score", person)
    wall, cpu = [], []
    for _ in range(3):
        start = time.perf_counter(), time.process_time()
        index.rank(scores, start=before)
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    sizes = {"galaxies": n, "latents": dimension, "scored": scored}
    return [{**sizes, "seconds": min(wall), "cpu_seconds": min(cpu)}]


def guide_rows(space: str, path: Path, surveys: Sequence[str] = SURVEYS) -> list[dict[str, Any]]:
    """Rank star-or-artefact examples of Galaxy Zoo's guide among its galaxies."""
    loaded, rows = LatentSpace.load(space), []
    for survey in surveys:
        with tempfile.TemporaryDirectory() as folder:
            sample = _guide_sample(path, survey, Path(folder))
            index = LatentIndex.build([extract(loaded, sample)])
        for method in METHODS:
            if method == "disagreement":
                continue
            found = index.outliers(survey, len(index), method)
            is_artefact = np.array(
                [i.startswith("artefact") for i in found["object_id"].to_pylist()]
            )
            recall, auc = detection(found["outlier_score"].to_numpy(), is_artefact, share=0.1)
            places = (np.flatnonzero(is_artefact) + 1).tolist()
            rows.append(
                {
                    "survey": survey,
                    "method": method,
                    "images": len(is_artefact),
                    "artefacts": int(is_artefact.sum()),
                    "AUC": auc,
                    "recall at 10%": recall,
                    "median rank": float(np.median(places)),
                }
            )
    return rows


def _learn(
    index: LatentIndex, found: pa.Table, rows: np.ndarray, wanted: np.ndarray, learning: bool
) -> list[float]:
    """Return the share of wanted objects scored after each round."""
    outlier_scores = found["outlier_score"].to_numpy()
    points = whitened(index.vectors[rows])
    scored, order, shares = np.zeros(len(rows), bool), np.arange(len(rows)), []
    for _ in range(_ROUNDS):
        scored[order[~scored[order]][:_PER_ROUND]] = True
        shares.append(float(wanted[scored].sum() / wanted.sum()))
        if learning:
            given = BEST_SCORE * wanted[scored]
            _, trained = trained_scores(points, outlier_scores, points[scored], given)
            order = np.argsort(-trained, kind="stable")
    return shares


def _guide_sample(path: Path, survey: str, folder: Path) -> Sample:
    """Write the distinct guide images of a survey as a sample; ids name artefacts."""
    definition = with_stretch(get_survey(survey))
    table = pq.read_table(path, filters=[("survey", "=", survey)])
    images: dict[str, tuple[Cutout, bool]] = {}
    for row in table.to_pylist():
        key = hashlib.sha256(row["image"]).hexdigest()[:16]
        is_artefact = (str(row["gz_question"]), str(row["gz_answer"])) == _ARTEFACT
        before = key in images and images[key][1]
        cutout = guide_cutout(read_colour(row["image"]), definition)
        images[key] = (cutout, is_artefact or before)
    cutouts = [cutout for cutout, _ in images.values()]
    sample = {
        "object_id": [
            f"{'artefact' if is_artefact else 'galaxy'}-{k}"
            for k, (_, is_artefact) in images.items()
        ],
        "survey": [survey] * len(images),
        "ra": np.zeros(len(images)),
        "dec": np.zeros(len(images)),
        "pixel_scale_arcsec": [cutout.pixel_scale_arcsec for cutout in cutouts],
        **stored_images(cutouts, definition),
    }
    write_table(pa.table(sample), folder / "sample.parquet")
    return Sample(folder / "sample.parquet")
