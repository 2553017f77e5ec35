"""Make tables of the results: every figure, its mean over seeds, and a page to read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.adaptation.summary import markdown
from evaluation.transfer import gap_closed
from galaxy_da.io.files import atomic_path, write_json
from galaxy_da.io.tables import write_table

_RECALLS = ("recall_at_1", "recall_at_10", "mean_reciprocal_rank", "median_rank")
_BY_DEFINITION = "by definition"
_KEYS = (
    "target", "variant", "method", "measure", "observation", "latents", "direction", "distractors",
    "stratum", "pool",
)  # fmt: skip


def write_tables(out: Path, results: Sequence[dict[str, Any]]) -> dict[str, Path]:
    """Write ``benchmark.parquet``, ``benchmark.json`` and ``benchmark.md``.

    Parameters
    ----------
    out : Path
        Output folder.
    results : sequence of dict
        Results of `benchmarks.adaptation.run.run_benchmark`.

    Returns
    -------
    dict of str to Path
        Paths of ``figures`` (every figure of every seed), ``means`` and ``summary``.
    """
    figures = figures_of(results)
    means = mean_over_seeds(figures)
    paths = {
        "figures": out / "benchmark.parquet",
        "means": out / "benchmark.json",
        "summary": out / "benchmark.md",
    }
    write_table(pa.Table.from_pandas(figures, preserve_index=False), paths["figures"])
    errors = [
        {key: result[key] for key in ("seed", "target", "variant", "method", "error")}
        for result in results
        if "error" in result
    ]
    rows = means.astype(object).where(means.notna(), None).to_dict("records")
    write_json(paths["means"], {"means": rows, "not_measured": errors})
    with atomic_path(paths["summary"]) as path:
        path.write_text(markdown(means, figures, errors), encoding="utf-8")
    return paths


def figures_of(results: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per figure.

    Parameters
    ----------
    results : iterable of dict
        Results of `benchmarks.adaptation.run.run_benchmark`.

    Returns
    -------
    DataFrame
        ``seed``; the keys (``target``, ``variant``, ``method``, ``measure``,
        ``observation``, ``latents``, ``direction``, ``distractors``, ``stratum``: empty where they
        do not apply; ``pool``: 0 likewise); ``value`` and its 95% interval, ``low`` to ``high``
        (NaN where there is none).
    """
    results = list(results)
    before = {
        (result["seed"], result["target"], observation): result["transfer"][observation]["accuracy"]
        for result in results
        if result["method"] == _BY_DEFINITION
        and result["variant"] == "all"
        and "transfer" in result
        for observation in ("aligned", "rotated")
    }
    rows = [
        {
            "seed": result["seed"],
            "target": result["target"],
            "variant": result["variant"],
            "method": result["method"],
            **dict.fromkeys(("observation", "latents", "direction", "distractors", "stratum"), ""),
            "pool": 0,
            **{"low": math.nan, "high": math.nan},
            **row,
        }
        for result in results
        for row in (*_result_rows(result), *_gap_rows(result, before))
    ]
    return pd.DataFrame(rows, columns=["seed", *_KEYS, "value", "low", "high"])


def mean_over_seeds(figures: pd.DataFrame) -> pd.DataFrame:
    """Average each figure over seeds.

    Parameters
    ----------
    figures : DataFrame
        Result of `figures_of`.

    Returns
    -------
    DataFrame
        The keys; ``value`` (mean), ``seed_sd`` (standard deviation over seeds, NaN for one seed)
        and ``seeds``; ``low`` and ``high``, the interval of the mean. Skies are independent, so
        half widths add in quadrature.
    """
    below, above = figures["value"] - figures["low"], figures["high"] - figures["value"]
    grouped = figures.assign(below=below**2, above=above**2).groupby(
        list(_KEYS), sort=False, dropna=False
    )
    found = grouped.agg(
        value=("value", "mean"),
        seed_sd=("value", "std"),
        seeds=("value", "size"),
        below=("below", "mean"),
        above=("above", "mean"),
    ).reset_index()
    found["low"] = found["value"] - np.sqrt(found["below"] / found["seeds"])
    found["high"] = found["value"] + np.sqrt(found["above"] / found["seeds"])
    return found.drop(columns=["below", "above"])


def _result_rows(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "seconds" in result:
        yield {"measure": "seconds", "value": result["seconds"]}
    for row in result.get("retrieval", ()):
        keys = ("observation", "latents", "direction", "distractors", "stratum", "pool")
        where = {key: row[key] for key in keys}
        for name in _RECALLS:
            ends = {end: row[f"{name}_{end}"] for end in ("low", "high")}
            yield {**where, "measure": name, "value": row[name], **ends}
    for observation, found in result.get("distances", {}).items():
        for name, value in found.items():
            yield {"observation": observation, "measure": f"distance_{name}", "value": value}
    for name, value in result.get("domains", {}).items():
        yield {"observation": "aligned", "measure": f"domain_auc_{name}", "value": value}
    for observation, found in result.get("transfer", {}).items():
        for name, value in found.items():
            yield {"observation": observation, "measure": f"transfer_{name}", "value": value}


def _gap_rows(
    result: dict[str, Any], before: dict[tuple[int, str, str], float]
) -> Iterator[dict[str, Any]]:
    """Yield the closed share of the gap between accuracy by definition and in-domain."""
    found = result.get("transfer", {})
    for observation in ("aligned", "rotated"):
        start = before.get((result["seed"], result["target"], observation))
        if observation not in found or start is None:
            continue
        share = gap_closed(start, found[observation]["accuracy"], found["in_domain"]["accuracy"])
        if share is not None:
            yield {"observation": observation, "measure": "transfer_gap_closed", "value": share}
