"""Tables on skies with injected outliers: pairs of surveys, a person's scores, time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from benchmarks.index import synthetic_latents
from benchmarks.outliers.injected import ORDINARY, simulate_with_outliers
from benchmarks.outliers.odd_galaxies import ODD_KINDS
from benchmarks.outliers.recall import InjectedSky, recall_at
from benchmarks.support.features import synthetic_table
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.features import Features
from galaxy_da.latent_index import LatentIndex
from galaxy_da.models.domain import OUTSIDE
from galaxy_da.queries.disagreement import RADIUS_ARCSEC, log_share, residual
from galaxy_da.queries.neighbours import whitened
from galaxy_da.queries.outliers import strange_galaxies
from galaxy_da.queries.ranking import BEST_SCORE, trained_scores
from galaxy_da.queries.sky import counterparts
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey

SURVEYS = ("decals", "sdss")
SCORED = 60
"""Galaxies that a person scores."""

_PER_ROUND = 15


def injected_skies(space: str, n: int, skies: int, scenes: Path | None) -> list[InjectedSky]:
    """Simulate skies with 2% outliers of each kind, as DECaLS and SDSS observe them."""
    loaded, made = LatentSpace.load(space), []
    definitions = [get_survey(name) for name in SURVEYS]
    for seed in range(1, skies + 1):
        with tempfile.TemporaryDirectory() as folder:
            samples = simulate_with_outliers(
                definitions, n, 2 * (n // 100), seed=seed, out=Path(folder), scenes=scenes
            )
            made.append(InjectedSky({name: extract(loaded, s) for name, s in samples.items()}))
    return made


def pair_rows(skies: Sequence[InjectedSky]) -> list[dict[str, Any]]:
    """Compare measures of the difference between the two surveys' images of a galaxy.

    Returns rows by ``measure``: recall of each kind at 1% false alarms, ``false``, the share of
    ordinary pairs that are called bad data, and ``found``, the share of mismatches and transients
    that are.
    """
    rows: dict[str, list[dict[str, float]]] = {}
    for sky in skies:
        index = sky.index
        decals, sdss = (np.arange(*index.span(name)) for name in SURVEYS)
        first, second, _ = counterparts(index, decals, sdss, RADIUS_ARCSEC)
        here, there = (
            np.array(index.take(some, ["kind"])["kind"].to_pylist(), object)
            for some in (first, second)
        )
        kinds = np.where(here == ORDINARY, there, here)
        one, other = index.vectors[first], index.vectors[second]
        measures = {
            "distance": np.linalg.norm(one - other, axis=1),
            "residual of prediction": residual(one, other),
        }
        for name, values in measures.items():
            called = log_share(values) >= OUTSIDE
            wrong = np.isin(kinds, ("mismatch", "transient"))
            rows.setdefault(name, []).append(
                {kind: recall_at(values, kinds, kind) for kind in sorted(set(kinds) - {ORDINARY})}
                | {"false": called[kinds == ORDINARY].mean(), "found": called[wrong].mean()}
            )
    return [
        {"measure": name, **{key: float(np.mean([p[key] for p in parts])) for key in parts[0]}}
        for name, parts in rows.items()
    ]


def learning_rows(skies: Sequence[InjectedSky]) -> list[dict[str, Any]]:
    """Measure how many galaxies of an unseen class a person finds who scores them 5, all else 0.

    Each round scores the next 15 of the ranking, which is then learned anew. Returns a row per
    class: shares found of all galaxies of the class after 60 scores, means over skies and surveys.
    """
    rows = []
    present = {kind for sky in skies for kind in sky.kinds(SURVEYS[0]).values()}
    for kind in [kind for kind in ODD_KINDS if kind in present]:
        found = [
            found_by_scores(sky.index, survey, "kind", (kind,))
            for sky in skies
            for survey in SURVEYS
        ]
        row = {name: float(np.mean([part[name] for part in found])) for name in found[0]}
        rows.append({"class": kind, **row, "over random": row["learning"] / row["random"]})
    return rows


def found_by_scores(
    index: LatentIndex, survey: str, column: str, wanted: Sequence[str]
) -> Mapping[str, float]:
    """Return the shares of wanted galaxies among those that a person scores, by three orders.

    They are ``random``, ``strangeness``, the order before any score, and ``learning``. Galaxies
    whose data are bad are never shown, and count as lost.
    """
    start, stop = index.span(survey)
    total = np.isin(index.take(np.arange(start, stop), [column])[column].to_pylist(), wanted).sum()
    strange = strange_galaxies(index, survey, None)
    is_wanted = np.isin(index.take(strange.rows, [column])[column].to_pylist(), wanted)
    points = whitened(index.vectors[strange.rows])
    scored, order = np.zeros(len(points), bool), np.argsort(-strange.score, kind="stable")
    alone = is_wanted[order[:SCORED]].sum() / total
    for _ in range(SCORED // _PER_ROUND):
        scored[order[~scored[order]][:_PER_ROUND]] = True
        given = BEST_SCORE * is_wanted[scored]
        _, trained = trained_scores(points, strange.score, points[scored], given)
        order = np.argsort(-trained, kind="stable")
    return {
        "random": SCORED / (stop - start),
        "strangeness": float(alone),
        "learning": float(is_wanted[scored].sum() / total),
    }


def speed_rows(n: int = 100_000, dimension: int = 28, scored: int = 100) -> list[dict[str, Any]]:
    """Time `LatentIndex.rank` from an earlier ranking, and `LatentIndex.outliers`, on one thread.

    ``strangest 50`` is the share of the 50 galaxies that an exact search finds strangest.
    """
    rng = np.random.default_rng(0)
    table = synthetic_table(synthetic_latents(n, dimension))
    index = LatentIndex.build(
        [Features(table=table, space_id="benchmark", encoders={"decals": "benchmark"})]
    )
    keys = index.rows.select(["survey", "object_id"])
    before = keys.append_column("outlier_score", pa.array(rng.uniform(size=n)))
    person = pa.array(rng.integers(0, int(BEST_SCORE) + 1, scored).astype(float))
    scores = keys.slice(0, scored).append_column("score", person)
    with threadpool_limits(1):
        again = partial(index.rank, scores, start=before)
        ranked = min((_timed(again) for _ in range(3)), key=itemgetter("cpu_seconds"))
        found = _timed(partial(index.outliers, k=50))
        exact = _timed(partial(_exactly_strangest, index, 50))
    names = set(found["result"]["object_id"].to_pylist())
    shares = {"rank again": None, "outliers": len(names & exact["result"]) / len(names)}
    return [
        {
            "query": name,
            "galaxies": n,
            "seconds": row["seconds"],
            "cpu_seconds": row["cpu_seconds"],
            "exactly": exact["cpu_seconds"] if shares[name] else None,
            "strangest 50": shares[name],
        }
        for name, row in (("rank again", ranked), ("outliers", found))
    ]


def _timed(call: Callable[[], Any]) -> dict[str, Any]:
    start = time.perf_counter(), time.process_time()
    result = call()
    seconds, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    return {"result": result, "seconds": seconds, "cpu_seconds": cpu}


def _exactly_strangest(index: LatentIndex, k: int) -> set[str]:
    """Return the ids of the galaxies with the largest mean distance to ten others."""
    points = whitened(index.vectors[:])
    squares, _ = faiss.knn(points, points, 11)
    mean = np.sqrt(np.maximum(squares[:, 1:], 0)).mean(axis=1)
    return {index.key(int(row)).partition(":")[2] for row in np.argsort(-mean)[:k]}
