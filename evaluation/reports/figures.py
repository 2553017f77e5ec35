"""Tables of the figures in a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from evaluation.reports.details import SurveyResult

_SCHEMA = pa.schema(
    [
        ("survey", pa.string()),
        ("part", pa.string()),
        ("measure", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)
_ENDS = ("_low", "_high")


def recall_table(results: Sequence[SurveyResult]) -> pa.Table:
    """Return one row per survey and encoder: by definition, adapted, and the ceiling."""
    rows = []
    for evaluation in (result.evaluation for result in results):
        encoders = {
            "by definition": evaluation.by_definition,
            f"adapted ({evaluation.chosen})": evaluation.adapted,
            "ceiling (anchor again)": evaluation.ceiling,
        }
        rows += [
            {
                "survey": evaluation.survey,
                "encoder": name,
                "recall@1": retrieval.recall_at_1,
                "low": retrieval.recall_at_1_low,
                "high": retrieval.recall_at_1_high,
                "recall@10": retrieval.recall_at_10,
                "distance_ratio": retrieval.distance_ratio,
                "pool": retrieval.pool,
            }
            for name, retrieval in encoders.items()
            if retrieval is not None
        ]
    return pa.Table.from_pylist(rows)


def figure_table(results: Sequence[SurveyResult]) -> pa.Table:
    """Return one row per figure.

    ``part`` is the path to the figure in ``metrics.json`` (``strata/r_mag/adapted/17-18.5``);
    ``low`` and ``high`` end its 95% interval, if it has one. Lists (curves, confusion matrices) are
    in ``metrics.json`` alone.
    """
    rows = [
        {"survey": result.evaluation.survey, **row}
        for result in results
        for row in _walk(result.as_dict(), ())
    ]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _walk(figures: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _walk(value, (*path, name))
        elif isinstance(value, int | float) and not name.endswith(_ENDS):
            ends = {end.strip("_"): figures.get(f"{name}{end}") for end in _ENDS}
            yield {"part": "/".join(path), "measure": name, "value": float(value), **ends}
