"""What is shown of evaluations: a table, and a page made from samples, features and their index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from evaluation.evaluate import Evaluation
from evaluation.reports.details import Details
from evaluation.reports.page import write_report
from galaxy_da.extraction.pipeline import extract
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.latent_index import LatentIndex
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey

__all__ = ["report_on", "table_of"]


def table_of(evaluations: Sequence[Evaluation]) -> pa.Table:
    """Return one row per survey and encoder: un-adapted, adapted, and the ceiling."""
    rows = []
    for result in evaluations:
        measured = {
            "unadapted": result.unadapted,
            f"adapted ({result.chosen})": result.adapted,
            "ceiling (anchor again)": result.ceiling,
        }
        rows += [
            {
                "survey": result.survey,
                "encoder": name,
                "recall@1": retrieval.recall_at_1,
                "low": retrieval.recall_at_1_low,
                "high": retrieval.recall_at_1_high,
                "recall@10": retrieval.recall_at_10,
                "distance_ratio": retrieval.distance_ratio,
                "pool": retrieval.pool,
            }
            for name, retrieval in measured.items()
            if retrieval is not None
        ]
    return pa.Table.from_pylist(rows)


def report_on(
    path: PathOrUrl,
    space: LatentSpace,
    anchor: Sample,
    targets: Sequence[tuple[Evaluation, Sample, pa.Table]],
    own: Mapping[str, Survey] | None = None,
    next_steps: Sequence[str] = (),
    details: Sequence[Details] = (),
) -> None:
    """Extract, index and write a report page.

    Parameters
    ----------
    path : path
        The HTML file.
    space : LatentSpace
        The space; targets it does not know are encoded un-adapted.
    anchor : Sample
        The anchor's cutouts.
    targets : sequence of (Evaluation, Sample, pair table)
        Each other survey.
    own : dict of str to Survey, optional
        Definitions of targets that neither the space nor the library knows.
    next_steps : sequence of str
        Commands the page ends with.
    details : sequence of Details
        More figures of some of the targets.
    """
    samples = {space.anchor: anchor, **{e.survey: sample for e, sample, _ in targets}}
    surveys = tuple((own or {}).values())
    features = [extract(space, s, surveys=surveys, unadapted=True) for s in samples.values()]
    write_report(
        path,
        title=f"{', '.join(space.survey(name, own).title for name in samples)} in one space",
        space=space,
        evaluations=[evaluation for evaluation, _, _ in targets],
        samples=samples,
        index=LatentIndex.build(features),
        pairs={e.survey: pairs for e, _, pairs in targets},
        next_steps=next_steps,
        own=own,
        details=details,
    )
