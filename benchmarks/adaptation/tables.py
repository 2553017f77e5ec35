"""Tables of a benchmark: one long table of figures, their means over seeds, and pages to read."""

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

__all__ = ["figures_of", "mean_over_seeds", "write_tables"]

_RECALLS = ("recall_at_1", "recall_at_10", "mean_reciprocal_rank", "median_rank")
_UNADAPTED = "unadapted"
_KEYS = (
    "target", "variant", "method", "measure", "observation", "direction", "distractors", "stratum",
    "pool",
)  # fmt: skip


def write_tables(out: Path, cells: Sequence[dict[str, Any]]) -> dict[str, Path]:
    """Write ``benchmark.parquet``, ``benchmark.json`` and ``benchmark.md``.

    Parameters
    ----------
    out : Path
        Folder.
    cells : sequence of dict
        From `benchmarks.adaptation.run.run_benchmark`.

    Returns
    -------
    dict of str to Path
        ``figures`` (every figure of every seed), ``means`` and ``summary``.
    """
    figures = figures_of(cells)
    means = mean_over_seeds(figures)
    paths = {
        "figures": out / "benchmark.parquet",
        "means": out / "benchmark.json",
        "summary": out / "benchmark.md",
    }
    write_table(pa.Table.from_pandas(figures, preserve_index=False), paths["figures"])
    errors = [
        {key: cell[key] for key in ("seed", "target", "variant", "method", "error")}
        for cell in cells
        if "error" in cell
    ]
    rows = means.astype(object).where(means.notna(), None).to_dict("records")
    write_json(paths["means"], {"means": rows, "not_measured": errors})
    with atomic_path(paths["summary"]) as path:
        path.write_text(markdown(means, figures, errors), encoding="utf-8")
    return paths


def figures_of(cells: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per figure.

    Parameters
    ----------
    cells : iterable of dict
        Cells of a benchmark.

    Returns
    -------
    DataFrame
        ``seed``, the keys (``target``, ``variant``, ``method``, ``measure``, ``look``,
        ``direction``, ``distractors``, ``stratum``: empty where they do not apply; ``pool``: 0
        likewise), ``value``, and its 95% interval ``low`` to ``high`` (NaN where there is none).
    """
    cells = list(cells)
    before = {
        (cell["seed"], cell["target"], observation): cell["transfer"][observation]["accuracy"]
        for cell in cells
        if cell["method"] == _UNADAPTED and cell["variant"] == "all" and "transfer" in cell
        for observation in ("aligned", "rotated")
    }
    rows = [
        {
            "seed": cell["seed"],
            "target": cell["target"],
            "variant": cell["variant"],
            "method": row.pop("method", cell["method"]),
            **{"observation": "", "direction": "", "distractors": "", "stratum": "", "pool": 0},
            **{"low": math.nan, "high": math.nan},
            **row,
        }
        for cell in cells
        for row in (*_cell_rows(cell), *_gap_rows(cell, before))
    ]
    return pd.DataFrame(rows, columns=["seed", *_KEYS, "value", "low", "high"])


def mean_over_seeds(figures: pd.DataFrame) -> pd.DataFrame:
    """Average each figure over seeds.

    Parameters
    ----------
    figures : DataFrame
        From `figures_of`.

    Returns
    -------
    DataFrame
        The keys, ``value`` (mean), ``seed_sd`` (standard deviation over seeds, NaN for one seed),
        ``seeds``, and ``low`` and ``high``: the interval of the mean over the galaxies of
        independent skies, whose half widths add in quadrature.
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


def _cell_rows(cell: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "seconds" in cell:
        yield {"measure": "seconds", "value": cell["seconds"]}
    for row in cell.get("retrieval", ()):
        where = {
            key: row[key] for key in ("observation", "direction", "distractors", "stratum", "pool")
        }
        for name in _RECALLS:
            ends = {end: row[f"{name}_{end}"] for end in ("low", "high")}
            yield {**where, "measure": name, "value": row[name], **ends}
    for observation, found in cell.get("distances", {}).items():
        for name, value in found.items():
            yield {"observation": observation, "measure": f"distance_{name}", "value": value}
    for name, value in cell.get("domains", {}).items():
        yield {"observation": "aligned", "measure": f"domain_auc_{name}", "value": value}
    for observation, found in cell.get("transfer", {}).items():
        for name, value in found.items():
            yield {"observation": observation, "measure": f"transfer_{name}", "value": value}
    if "denoising" in cell:
        yield from _image_rows(cell["denoising"])
    for name, found in cell.get("images", {}).items():
        yield from ({"method": name, **row} for row in _image_rows(found))


def _image_rows(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("psnr", "ssim", "mse"):
        yield {"observation": "aligned", "measure": name, "value": found[name]}
    for band, bias in found["flux"].items():
        yield {
            "observation": "aligned",
            "measure": f"flux_bias_{band}",
            **{"value": bias["bias"], "low": bias["low"], "high": bias["high"]},
        }
        yield {
            "observation": "aligned",
            "measure": f"flux_scatter_{band}",
            "value": bias["scatter"],
        }


def _gap_rows(
    cell: dict[str, Any], before: dict[tuple[int, str, str], float]
) -> Iterator[dict[str, Any]]:
    """Yield the share of the gap between un-adapted and in-domain accuracy that is closed."""
    found = cell.get("transfer", {})
    for observation in ("aligned", "rotated"):
        start = before.get((cell["seed"], cell["target"], observation))
        if observation not in found or start is None:
            continue
        share = gap_closed(start, found[observation]["accuracy"], found["in_domain"]["accuracy"])
        if share is not None:
            yield {"observation": observation, "measure": "transfer_gap_closed", "value": share}
