"""Every figure of a report as one long table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from evaluation.evaluate import Evaluation
from evaluation.reports.details import Details

__all__ = ["figure_table"]

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


def figure_table(evaluations: Sequence[Evaluation], details: Sequence[Details]) -> pa.Table:
    """Return one row per figure.

    Parameters
    ----------
    evaluations, details : sequence
        Of the same surveys, or no details.

    Returns
    -------
    pa.Table
        ``survey``; ``part``, the path to the figure in ``metrics.json`` (``strata/r_mag/adapted/
        17-18.5``); ``measure``; ``value``, and its 95% interval ``low`` to ``high`` where it has
        one. Lists (curves, confusion matrices) are in ``metrics.json`` alone.
    """
    rows = [
        {"survey": item.survey, **row} for item in evaluations for row in _walk(item.as_dict(), ())
    ]
    rows += [{"survey": item.survey, **row} for item in details for row in _walk(item.figures, ())]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _walk(figures: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _walk(value, (*path, name))
        elif isinstance(value, int | float) and not name.endswith(_ENDS):
            ends = {end.strip("_"): figures.get(f"{name}{end}") for end in _ENDS}
            yield {"part": "/".join(path), "measure": name, "value": float(value), **ends}
