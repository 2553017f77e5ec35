"""Outliers on a simulated sky with odd things in it, and on Galaxy Zoo's guide images.

``python -m benchmarks.outliers [--space S] [--n 800] [--skies 3] [--scenes IMAGES]
[--guide FILE]`` prints recall at 1% and AUC by method and kind, purity of the top before and after
quality cuts, what a few human scores do to the ranking and how long that takes, and where the
guide's stars and artefacts rank.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.outliers.injected import ORDINARY, odd_sky
from benchmarks.outliers.recall import detection, method_rows, purity, ranked_kinds
from benchmarks.real.guide_sample import stored_images
from benchmarks.real.probes import guide_cutout, read_colour, with_stretch
from benchmarks.support.tables import print_rows
from galaxy_da.extraction.pipeline import extract
from galaxy_da.images.cutouts import Cutout
from galaxy_da.io.features import Features
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import write_table
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.neighbours import whitened
from galaxy_da.queries.outliers import METHODS
from galaxy_da.queries.ranking import BEST_SCORE, trained_scores
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey

__all__ = ["guide_rows", "learning_rows", "odd_indexes", "purity_rows", "speed_rows"]

_SURVEYS = ("decals", "sdss")
_TOP = 30
_ROUNDS, _PER_ROUND = 4, 15
_ARTEFACT = ("0", "2")  # question and answer of stars and artefacts


def odd_indexes(
    space: str = "decals", n: int = 800, skies: int = 3, scenes: Path | None = None
) -> list[LatentIndex]:
    """Simulate odd skies, 2% of each kind, and index what DECaLS and SDSS saw of each."""
    loaded, indexes = LatentSpace.load(space), []
    for seed in range(1, skies + 1):
        with tempfile.TemporaryDirectory() as folder:
            definitions = [get_survey(name) for name in _SURVEYS]
            each = 2 * (n // 100)
            samples = odd_sky(definitions, n, each, seed=seed, out=Path(folder), scenes=scenes)
            features = [extract(loaded, some, unadapted=True) for some in samples.values()]
        indexes.append(LatentIndex.build(features))
    return indexes


def purity_rows(indexes: Sequence[LatentIndex], top: int = _TOP) -> list[dict[str, Any]]:
    """Share of each method's first objects that were made odd, and that are the unseen class."""
    rows = []
    for method in METHODS:
        row: dict[str, Any] = {"method": method, "top": top}
        groups = [None] if method == "disagreement" else list(_SURVEYS)
        for clean in (False, True):
            ranked = [
                ranked_kinds(index, method, survey, clean=clean)[1]
                for index in indexes
                for survey in groups
            ]
            when = "after cuts" if clean else "before cuts"
            row[f"odd {when}"] = float(np.mean([purity(k != ORDINARY, top) for k in ranked]))
            row[f"ring {when}"] = float(np.mean([purity(k == "ring", top) for k in ranked]))
        rows.append(row)
    return rows


def learning_rows(indexes: Sequence[LatentIndex], method: str = "combined") -> list[dict[str, Any]]:
    """Score rings 5 and all else 0, some from the top each round; share of the rings that is found.

    The ranking without learning scores as many objects from its top.
    """
    shares: dict[str, list[list[float]]] = {"outlier score alone": [], "learning": []}
    for index in indexes:
        for survey in _SURVEYS:
            found = index.outliers(survey, len(index), method, clean=True)
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
    """Seconds of `LatentIndex.rank` from an earlier ranking, the best of three.

    That is all a person waits for between giving scores and seeing the new order.
    """
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


def guide_rows(space: str, path: Path, surveys: Sequence[str] = _SURVEYS) -> list[dict[str, Any]]:
    """Rank Galaxy Zoo's star-or-artefact examples among its galaxies, by method."""
    loaded, rows = LatentSpace.load(space), []
    for survey in surveys:
        with tempfile.TemporaryDirectory() as folder:
            sample = _guide_sample(path, survey, Path(folder))
            index = LatentIndex.build([extract(loaded, sample, unadapted=True)])
        for method in METHODS:
            if method == "disagreement":
                continue
            found = index.outliers(survey, len(index), method)
            odd = np.array([i.startswith("artefact") for i in found["object_id"].to_pylist()])
            recall, auc = detection(found["outlier_score"].to_numpy(), odd, share=0.1)
            places = (np.flatnonzero(odd) + 1).tolist()
            rows.append(
                {
                    "survey": survey,
                    "method": method,
                    "images": len(odd),
                    "artefacts": int(odd.sum()),
                    "AUC": auc,
                    "recall at 10%": recall,
                    "median rank": float(np.median(places)),
                }
            )
    return rows


def _learn(
    index: LatentIndex, found: pa.Table, rows: np.ndarray, wanted: np.ndarray, learning: bool
) -> list[float]:
    """Share of the wanted that was scored after each round."""
    odd = found["outlier_score"].to_numpy()
    points = whitened(index.vectors[rows])
    seen, order, shares = np.zeros(len(rows), bool), np.arange(len(rows)), []
    for _ in range(_ROUNDS):
        seen[order[~seen[order]][:_PER_ROUND]] = True
        shares.append(float(wanted[seen].sum() / wanted.sum()))
        if learning:
            given = BEST_SCORE * wanted[seen]
            _, trained = trained_scores(points, odd, points[seen], given)
            order = np.argsort(-trained, kind="stable")
    return shares


def _guide_sample(path: Path, survey: str, folder: Path) -> Sample:
    """Write the distinct guide images of a survey as a sample, artefacts named so."""
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
        "object_id": [f"{'artefact' if odd else 'galaxy'}-{k}" for k, (_, odd) in images.items()],
        "survey": [survey] * len(images),
        "ra": np.zeros(len(images)),
        "dec": np.zeros(len(images)),
        "pixel_scale_arcsec": [cutout.pixel_scale_arcsec for cutout in cutouts],
        "image": stored_images(cutouts),
    }
    write_table(pa.table(sample), folder / "sample.parquet")
    return Sample(folder / "sample.parquet")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="decals")
    parser.add_argument("--n", type=int, default=800)
    parser.add_argument("--skies", type=int, default=3)
    parser.add_argument("--scenes", type=Path, default=None)
    parser.add_argument("--guide", type=Path, default=None)
    given = parser.parse_args()
    indexes = odd_indexes(given.space, given.n, given.skies, given.scenes)
    print_rows("Odd things by method, skies and surveys averaged", method_rows(indexes, _SURVEYS))
    print_rows("Share of the top that is odd", purity_rows(indexes))
    print_rows("Rings found, of all, by what a person has scored", learning_rows(indexes))
    print_rows("Learning from scores and ranking anew", speed_rows())
    if given.guide is None or not given.guide.is_file():
        print("\nGalaxy Zoo guide images: skipped, no --guide table given or found")
    else:
        print_rows(
            "Stars and artefacts of the Galaxy Zoo guide", guide_rows(given.space, given.guide)
        )


if __name__ == "__main__":
    main()
