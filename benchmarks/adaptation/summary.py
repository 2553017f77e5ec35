"""Write the results as a page of Markdown, with the state of each goal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

_CEILING, _ADAPT, _BY_DEFINITION, _RIGHT = "ceiling", "adapt", "by definition", "right definition"
_SHARE_OF_CEILING = 0.95
_READINGS: dict[str, tuple[str, str | None]] = {
    "right definition": (_RIGHT, "all"),
    "by definition": (_BY_DEFINITION, "all"),
    "adapted, no pairs": (_ADAPT, "0 pairs"),
    "adapted, 300 pairs": (_ADAPT, "300 pairs"),
    "adapted, all pairs": (_ADAPT, "all"),
    "DECaLS again": (_CEILING, "all"),
}
"""Method and variant of each column of the first tables."""

_COLUMNS: dict[str, dict[str, str]] = {
    "aligned, random": {
        "measure": "recall_at_1",
        "observation": "aligned",
        "distractors": "random",
    },
    "rotated, random": {
        "measure": "recall_at_1",
        "observation": "rotated",
        "distractors": "random",
    },
    "aligned, hard": {"measure": "recall_at_1", "observation": "aligned", "distractors": "hard"},
    "rotated, hard": {"measure": "recall_at_1", "observation": "rotated", "distractors": "hard"},
}
_OTHERS: dict[str, dict[str, str]] = {
    "same/random": {"measure": "distance_ratio", "observation": "aligned"},
    "same/hard": {"measure": "distance_hard_ratio", "observation": "aligned"},
    "AUC": {"measure": "distance_auc", "observation": "aligned"},
    "hard AUC": {"measure": "distance_hard_auc", "observation": "aligned"},
    "domain AUC, logistic": {"measure": "domain_auc_logistic"},
    "boosting": {"measure": "domain_auc_boosting"},
    "accuracy": {"measure": "transfer_accuracy", "observation": "aligned"},
    "macro-F1": {"measure": "transfer_macro_f1", "observation": "aligned"},
    "ECE": {"measure": "transfer_ece", "observation": "aligned"},
    "gap closed": {"measure": "transfer_gap_closed", "observation": "aligned"},
    "seconds": {"measure": "seconds"},
}
_SEARCHES: dict[str, dict[str, str]] = {
    f"{pose}, {kind} latents": {"observation": observation, "latents": kind}
    for observation, pose in (("aligned", "north up"), ("rotated", "rotated"))
    for kind in ("all", "galaxy")
}
_HEADLINES: dict[str, dict[str, str]] = {
    "aligned, all": {"observation": "aligned", "distractors": "random", "stratum": "all"},
    "rotated, hard, faint": {"observation": "rotated", "distractors": "hard", "stratum": "faint"},
}


def markdown(means: pd.DataFrame, figures: pd.DataFrame, errors: Sequence[dict[str, Any]]) -> str:
    """Return the results as Markdown.

    Parameters
    ----------
    means, figures : DataFrame
        From `benchmarks.adaptation.tables`.
    errors : sequence of dict
        Results of methods that failed.

    Returns
    -------
    str
        Page of tables: mean over seeds ± standard deviation over seeds [95% interval over
        galaxies].
    """
    lines = ["# Adaptation benchmark", "", _legend(figures), ""]
    for title, where in _SEARCHES.items():
        lines += [f"Recall@1, {title}", "", *_readings(means, where), ""]
    means = means[~_other_latents(means)]
    figures = figures[~_other_latents(figures)]
    full = means[means["variant"] == "all"]
    for target in full["target"].unique():
        own = full[full["target"] == target]
        lines += [f"## {target}", "", *_verdicts(target, figures), ""]
        for title, stratum in (("all", "all"), ("r > 20", "faint")):
            chosen = own[(own["stratum"] == stratum) & (own["direction"] == "forward")]
            lines += [f"Recall@1, {title}", "", *_table(_largest_pools(chosen), _COLUMNS), ""]
        lines += ["Recall@1 in the smaller pool and in reverse", "", *_directions(own), ""]
        lines += ["Distances, domains, morphology", "", *_table(own, _OTHERS), ""]
        title = "Recall@1 by magnitude and size over PSF (rotated, hard)"
        lines += [title, "", *_by_stratum(own), ""]
    if errors:
        lines += ["## Not measured", ""]
        lines += [
            f"- seed {e['seed']}, {e['target']}, {e['variant']}, {e['method']}: {e['error']}"
            for e in errors
        ]
    return "\n".join(lines).rstrip() + "\n"


def _legend(figures: pd.DataFrame) -> str:
    seeds = sorted(figures["seed"].unique())
    return (
        f"{len(seeds)} seeds ({', '.join(map(str, seeds))}). Mean over seeds ± standard deviation "
        "over seeds [95% interval over galaxies]. The ceiling is a second DECaLS-like observation "
        "of the same galaxies by the anchor survey; rotated means at a random angle and mirrored; "
        "hard means among the 99 galaxies nearest in magnitude, size and colour."
    )


def _readings(means: pd.DataFrame, where: dict[str, str]) -> Iterator[str]:
    """One line per target: by definition, adapted, and the ceiling, in the largest pool."""
    chosen = means[
        (means["measure"] == "recall_at_1")
        & (means["direction"] == "forward")
        & (means["distractors"] == "random")
        & (means["stratum"] == "all")
    ]
    for key, value in where.items():
        chosen = chosen[chosen[key] == value]
    chosen = _largest_pools(chosen)
    keys = {
        name: (chosen["method"] == method) & (chosen["variant"] == variant)
        for name, (method, variant) in _READINGS.items()
    }
    shown = {name: chosen[rows] for name, rows in keys.items() if rows.any()}
    yield _line(["survey", *shown])
    yield _line(["---"] * (1 + len(shown)))
    for target in chosen["target"].unique():
        cells = [
            " ".join(_number(row) for row in some[some["target"] == target].itertuples())
            for some in shown.values()
        ]
        yield _line([str(target), *cells])


def _other_latents(rows: pd.DataFrame) -> pd.Series:
    """Mark rows of all latents of rotated images, and of galaxy latents with north up."""
    compared = rows["observation"].map({"aligned": "all", "rotated": "galaxy"})
    return (rows["latents"] != "") & (rows["latents"] != compared)


def _verdicts(target: str, figures: pd.DataFrame) -> Iterator[str]:
    """Compare `adapt` with the best baseline and with the ceiling."""
    for title, where in _HEADLINES.items():
        chosen = figures[
            (figures["target"] == target)
            & (figures["variant"] == "all")
            & (figures["measure"] == "recall_at_1")
            & (figures["direction"] == "forward")
        ]
        for key, value in where.items():
            chosen = chosen[chosen[key] == value]
        table = _largest_pools(chosen).pivot_table(index="seed", columns="method", values="value")
        baselines = table.drop(columns=[_ADAPT, _CEILING], errors="ignore")
        if _ADAPT not in table or baselines.empty:
            continue
        best = baselines.mean().idxmax()
        gain = table[_ADAPT] - table[best]
        verdict = "above" if gain.mean() > 0 else "NOT above"
        spread = f" ± {gain.std():.3f} over seeds" if len(gain) > 1 else ""
        line = f"- {title}: adapt is {verdict} the best baseline, {best}, "
        line += f"by {gain.mean():+.3f}{spread}"
        if _CEILING in table and table[_CEILING].mean() > 0:
            share = table[_ADAPT].mean() / table[_CEILING].mean()
            goal = "reached" if share >= _SHARE_OF_CEILING else "not reached"
            line += f"; {share:.1%} of the ceiling (goal of {_SHARE_OF_CEILING:.0%} {goal})"
        yield line + "."


def _largest_pools(rows: pd.DataFrame) -> pd.DataFrame:
    """Drop the smaller of two random pools."""
    largest = rows.groupby(["distractors", "stratum"])["pool"].transform("max")
    return rows[(rows["pool"] == largest) | (rows["distractors"] == "hard")]


def _table(rows: pd.DataFrame, columns: dict[str, dict[str, str]]) -> Iterator[str]:
    """One line per method with any of the columns."""
    found: dict[str, dict[str, str]] = {}
    for name, where in columns.items():
        chosen = rows
        for key, value in where.items():
            chosen = chosen[chosen[key] == value]
        for row in chosen.itertuples():
            found.setdefault(str(row.method), {})[name] = _number(row)
    yield _line(["method", *columns])
    yield _line(["---"] * (1 + len(columns)))
    for method, values in found.items():
        yield _line([method, *(values.get(name, "") for name in columns)])


def _directions(own: pd.DataFrame) -> Iterator[str]:
    chosen = own[
        (own["measure"] == "recall_at_1")
        & (own["stratum"] == "all")
        & (own["distractors"] == "random")
    ]
    chosen = chosen[chosen["seeds"] == chosen["seeds"].max()]  # pools that every sky has
    names = chosen[["observation", "direction", "pool"]].astype(str)
    chosen = chosen.assign(column=names.agg(", ".join, axis=1))
    yield from _grid(chosen, "method", "column")


def _by_stratum(own: pd.DataFrame) -> Iterator[str]:
    chosen = own[
        (own["measure"] == "recall_at_1")
        & (own["observation"] == "rotated")
        & (own["distractors"] == "hard")
        & ~own["stratum"].isin(["all", "faint"])
    ]
    yield from _grid(chosen, "method", "stratum")


def _grid(rows: pd.DataFrame, down: str, across: str) -> Iterator[str]:
    columns = list(dict.fromkeys(rows[across]))
    yield _line([down, *columns])
    yield _line(["---"] * (1 + len(columns)))
    for name, some in rows.groupby(down, sort=False):
        values = {str(getattr(row, across)): _number(row) for row in some.itertuples()}
        yield _line([str(name), *(values.get(column, "") for column in columns)])


def _number(row: Any) -> str:
    text = f"{row.value:.1f}" if abs(row.value) >= 10 else f"{row.value:.3f}"
    if row.seeds > 1:
        text += f" ± {row.seed_sd:.3f}"
    return text if pd.isna(row.low) else f"{text} [{row.low:.3f}, {row.high:.3f}]"


def _line(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"
