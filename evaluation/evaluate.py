"""Measure the retrieval of one survey in a space, on the test part of the sky.

Neither training nor selection uses the test part. Cutouts have north up, so all latents are
compared, nuisance latents included. `evaluation.reports.details` measures recall by galaxy latents
alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from catalogs.splits import SkySplit
from evaluation.retrieval import Retrieval, retrieve
from evaluation.targets import PairedSample, TargetSurvey, sample_bands
from galaxy_da.errors import CatalogError
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace, SurveyEncoder

POOL = 1000
"""Largest number of galaxies in the retrieval pool; a smaller test part is used whole."""

_FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Retrieval of one survey on the test part of the sky.

    Attributes
    ----------
    survey : str
        Name of the target survey.
    chosen : str
        Candidate that adaptation chose; ``by definition`` if the survey was not adapted.
    adapted, by_definition : Retrieval
        Retrieval with the survey's adapted encoder, and with its definition alone.
    ceiling : Retrieval, optional
        Retrieval of a second, independent anchor observation of the same galaxies.
    split : SkySplit
        Split of the sky: the one that adaptation recorded, if the survey was adapted.
    """

    survey: str
    chosen: str
    adapted: Retrieval
    by_definition: Retrieval
    ceiling: Retrieval | None
    split: SkySplit = field(default_factory=SkySplit)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "survey": self.survey,
            "chosen": self.chosen,
            "adapted": self.adapted.as_dict(),
            "by_definition": self.by_definition.as_dict(),
            "ceiling": self.ceiling.as_dict() if self.ceiling else None,
            "split": self.split.as_record(),
        }


def evaluate(
    space: LatentSpace,
    anchor: Sample,
    target: TargetSurvey,
    *,
    repeat: PairedSample | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a target survey: its cutouts are the queries, the anchor's are the pool.

    Parameters
    ----------
    space : LatentSpace
        Space with the target adapted, or without it.
    anchor : Sample
        Cutouts of the anchor survey.
    target : TargetSurvey
        Cutouts, pairs and definition of the target.
    repeat : PairedSample, optional
        A second anchor observation, for the ceiling. All three measures then use the galaxies that
        were observed every time.
    seed : int
        Seed of the fixed pool and the bootstrap.

    Raises
    ------
    CatalogError
        If fewer than 20 pairs fall in the test part of the sky.
    """
    rows = target.paired_rows(anchor, space).only("test")
    anchor_rows, target_rows = rows.anchor, rows.target
    if repeat is not None:
        repeat_rows = repeat.rows_by_anchor(anchor)
        observed_again = repeat_rows[anchor_rows] >= 0
        anchor_rows, target_rows = anchor_rows[observed_again], target_rows[observed_again]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(anchor_rows))[:POOL])
    anchor_rows, target_rows = anchor_rows[chosen], target_rows[chosen]
    survey, own = target.survey, space.encoder(space.anchor)
    plain = space.by_definition(survey, sample_bands(target.sample, survey))
    adapted = space.encoder(survey.name) if survey.name in space.surveys else plain
    pool, usable = _latents(space, anchor, anchor_rows, own)
    queries, usable_target = _latents(space, target.sample, target_rows, adapted)
    before, _ = _latents(space, target.sample, target_rows, plain)
    usable = usable & usable_target
    second = None
    if repeat is not None:
        second, usable_again = _latents(space, repeat.sample, repeat_rows[anchor_rows], own)
        usable &= usable_again
    if usable.sum() < _FEWEST:
        raise CatalogError(
            f"{survey.name}: only {int(usable.sum())} usable pairs fall in the test part of the "
            f"sky, at least {_FEWEST} are needed; match a larger area"
        )
    return Evaluation(
        survey=survey.name,
        chosen=str(adapted.record.get("chosen", "by definition")),
        adapted=retrieve(queries[usable], pool[usable], seed),
        by_definition=retrieve(before[usable], pool[usable], seed),
        ceiling=None if second is None else retrieve(second[usable], pool[usable], seed),
        split=rows.split,
    )


def _latents(
    space: LatentSpace, sample: Sample, rows: np.ndarray, encoder: SurveyEncoder
) -> tuple[np.ndarray, np.ndarray]:
    """Encode rows of a sample; the second array marks usable cutouts."""
    inputs, usable = load_images(sample, rows, encoder, space.frame)
    return space.encode(inputs, encoder).mean.numpy(), usable
