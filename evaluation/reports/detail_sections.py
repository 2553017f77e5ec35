"""Arrange the details of one survey for the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.reports.details import Details
from galaxy_da.plots import learning_curve, reliability, to_svg

_STRATA = {"r_mag": "r [mag]", "size_over_psf": "half-light radius over PSF FWHM"}
_STRATA_WORDS = {"r_mag": "r magnitude", "size_over_psf": "size over the PSF"}
_STRATA_COLUMNS = {"r_mag": "r_mag", "size_over_psf": "half_light_arcsec"}
_TASKS = {"random": "own galaxy and a random one", "lookalikes": "ten nearest of the pool"}
_SIDES = {"by_definition": "by definition", "adapted": "adapted", "in_domain": "anchor (in-domain)"}


def detail_sections(
    survey: str, record: Mapping[str, Any], details: Details | None
) -> dict[str, Any]:
    """Arrange an encoder's record and a survey's details for the template.

    `survey` is its title. Sections are empty or None for what was not measured. The record's
    ``curves`` are drawn.
    """
    figures = {} if details is None else details.figures
    transfer = figures.get("transfer")
    return {
        "recalls": _recalls(figures),
        "strata": [
            (title, _side_by_side(figures["strata"][name]))
            for name, title in _STRATA.items()
            if name in figures.get("strata", {})
        ],
        "domains": figures.get("domains"),
        "distances": figures.get("distances"),
        "confusion": []
        if transfer is None
        else [
            {
                "title": title,
                "classes": transfer["classes"],
                "rows": list(map(_shares, transfer["confusion"][name])),
                **transfer["scores"][name],
            }
            for name, title in _SIDES.items()
        ],
        "gap_closed": None if transfer is None else transfer["gap_closed"],
        "reliability": [
            {"title": _TASKS[task], **found, "svg": _reliability_svg(survey, _TASKS[task], found)}
            for task, found in figures.get("match_probability", {}).items()
        ],
        "curves": _curves(survey, record["curves"]) if record.get("curves") else [],
    }


def _reliability_svg(survey: str, task: str, found: Mapping[str, Any]) -> str:
    curve = found["reliability"]
    label = f"{survey}, {task}: Brier score {found['brier']:.4f}"
    return to_svg(reliability(curve["stated"], curve["observed"]), label)


def _curves(survey: str, rows: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """Draw each logged term of a training over its steps."""
    steps = [row["step"] for row in rows]
    drawn = []
    for key in rows[0]:
        if key == "step":
            continue
        name, values = key.replace("_", " "), [row[key] for row in rows]
        label = f"{survey}, {name}: from {values[0]:.3g} to {values[-1]:.3g}"
        figures = {"name": name, "first": values[0], "last": values[-1], "steps": int(steps[-1])}
        drawn.append({**figures, "svg": to_svg(learning_curve(steps, values, ""), label)})
    return drawn


def shown_measures(results: Sequence[Details | None]) -> dict[str, Any]:
    """List the hard cases shown for any survey, and why others are not measured."""
    known = [found.figures for found in results if found is not None]

    def measured(name: str) -> bool:
        return any(figures.get(name) for figures in known)

    found = {name for figures in known for name in figures.get("strata", {})}
    missing = [
        f"recall by {words}, which needs the column {_STRATA_COLUMNS[name]} of the anchor sample"
        for name, words in _STRATA_WORDS.items()
        if name not in found
    ]
    if not measured("hard"):
        missing.append("similar galaxies, which need the column r_mag and at least 20 test pairs")
    return {
        "hard": measured("hard"),
        "strata": [words for name, words in _STRATA_WORDS.items() if name in found],
        "domains": measured("domains"),
        "missing": missing,
    }


def _recalls(figures: Mapping[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return the name of each test, with recall before and after."""
    if "hard" not in figures:
        return []
    before, after = (figures["hard"][encoder] for encoder in ("by_definition", "adapted"))
    return [(f"among {after['pool'] - 1} similar galaxies", before, after)]


def _side_by_side(
    found: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    return [
        (
            key.replace("-inf", " and more").replace("-", "\u2013"),
            found["by_definition"][key],
            after,
        )
        for key, after in found["adapted"].items()
    ]


def _shares(row: list[int]) -> list[tuple[int, float]]:
    """Return the counts of a row of a confusion matrix with their shares."""
    total = max(sum(row), 1)
    return [(count, count / total) for count in row]
