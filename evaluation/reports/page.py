"""Write the report of an evaluation as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from catalogs.matching.pairs import PairedRows
from evaluation.reports import picture_sections
from evaluation.reports.detail_sections import detail_sections, shown_measures
from evaluation.reports.details import Details, SurveyResult
from evaluation.reports.figures import recall_table
from evaluation.reports.picture_sections import evenly
from evaluation.reports.survey_images import PairsInIndex, pairs_in_index, survey_images
from galaxy_da.errors import LatentIndexError
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.files import atomic_path
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.latent_index import LatentIndex
from galaxy_da.plots import distance_histogram, recall, to_svg
from galaxy_da.space import LatentSpace

GALAXIES, QUERIES = 8, 5
"""Galaxies shown in every survey, and anchor galaxies whose neighbours are shown."""

_TITLES = {
    "recall_at_1": "Recall@1",
    "mean_reciprocal_rank": "Mean reciprocal rank",
    "distance_ratio": "Distance ratio",
    "gain": "Gain",
    "gain_error": "± error",
    "mmd": "MMD",
}
"""Titles of the scores of candidates."""


def write_report(
    path: PathOrUrl,
    space: LatentSpace,
    anchor: Sample,
    results: Sequence[SurveyResult],
    *,
    index: LatentIndex | None = None,
    next_steps: Sequence[str] = (),
) -> None:
    """Write one self-contained page: figures, and pictures of the galaxies behind them.

    Pairs are of the test part of the sky; neighbours and outliers come from the whole `index` of
    all the samples, by default extracted here. `next_steps` are commands, at the end of the page.
    Raises LatentIndexError if the index is of another space or encoder, or lacks a survey, and
    CatalogError if fewer than two test pairs of a target are in it.
    """
    if not results:
        raise ValueError("a report takes at least one result but got none")
    targets = [result.target for result in results]
    if index is None:
        surveys = tuple(target.survey for target in targets)
        samples = [anchor, *(target.sample for target in targets)]
        index = LatentIndex.build(
            [
                extract(space, sample, settings=ExtractSettings(surveys=surveys))
                for sample in samples
            ]
        )
    _check(space, index)
    first = survey_images(space, index, anchor, space.survey(space.anchor))
    surveys_shown = [first]
    pairs = []
    for result, target in zip(results, targets, strict=True):
        images = survey_images(space, index, target.sample, target.survey)
        surveys_shown.append(images)
        split = result.evaluation.split
        paired = PairedRows.of(target.pairs, anchor, target.sample, split)
        pairs.append(pairs_in_index(index, first, images, paired))
    galaxies = picture_sections.by_distance(pairs)
    bright = picture_sections.brighter_half(index, first, galaxies)
    by_survey = list(zip(surveys_shown[1:], pairs, results, strict=True))
    page: dict[str, Any] = {
        "title": f"{', '.join(images.encoder.survey.title for images in surveys_shown)} "
        "in one space",
        "space": space,
        "anchor": first,
        "surveys": surveys_shown,
        "recall": to_svg(recall(recall_table(results)), "Recall@1 of each survey and encoder"),
        "evaluations": [(images, result.evaluation) for images, _, result in by_survey],
        "same": picture_sections.same_galaxies(first, pairs, evenly(galaxies, GALAXIES)),
        "queries": picture_sections.neighbours(index, first, pairs, evenly(bright[1:-1], QUERIES)),
        "outliers": [
            (images, picture_sections.outliers(index, images)) for images in surveys_shown
        ],
        "decoded": picture_sections.decoded_images(
            space, index, first, pairs, evenly(bright, GALAXIES)
        ),
        "extremes": [
            (images, picture_sections.extreme_pairs(first, paired))
            for images, paired, _ in by_survey
        ],
        "charts": [
            (images, _chart(images.title, paired, result.details))
            for images, paired, result in by_survey
        ],
        "shown": shown_measures([result.details for result in results]),
        "details": [
            (images, detail_sections(images.title, images.encoder.record, result.details))
            for images, _, result in by_survey
        ],
        "titles": _TITLES,
        "next_steps": next_steps,
    }
    page["has"] = _optional_sections(page)
    environment = Environment(
        loader=PackageLoader("evaluation.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("report.html.j2").render(page)
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _optional_sections(page: Mapping[str, Any]) -> dict[str, bool]:
    """Mark the optional sections that this page has."""
    details = [found for _, found in page["details"]]
    parts = {
        "measured": ("recalls", "strata", "domains"),
        "classes": ("confusion",),
        "reliability": ("reliability",),
        "curves": ("curves",),
    }
    return {
        name: any(found[key] for found in details for key in keys) for name, keys in parts.items()
    }


def _check(space: LatentSpace, index: LatentIndex) -> None:
    index.check_space(space.id)
    for name in space.surveys:
        if index.encoders.get(name, space.encoder(name).hash) != space.encoder(name).hash:
            raise LatentIndexError(
                f"{name}: this index was built with another encoder than the space has; extract "
                "and index this survey again"
            )


def _chart(survey: str, target: PairsInIndex, details: Details | None) -> dict[str, Any]:
    """Draw histograms of same, similar and random pairs on a common axis."""
    same = target.distance[np.isfinite(target.distance)]
    hard = None if details is None else details.hard_distances
    medians = float(np.median(same)), float(np.median(target.random))
    label = (
        f"{survey}: median distance {medians[0]:.2f} of the same galaxy, {medians[1]:.2f} of "
        "random ones"
    )
    return {
        "svg": to_svg(distance_histogram(same, target.random, hard), label),
        "pairs": len(same),
        "medians": medians,
        "hard_median": None if hard is None else float(np.median(hard)),
    }
