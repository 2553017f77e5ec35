"""A survey to evaluate: its cutouts, their pairs with the anchor, its encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from catalogs.matching.pairs import PairedRows
from catalogs.splits import SkySplit, recorded_split
from galaxy_da.errors import CatalogError
from galaxy_da.extraction.loading import read_batches
from galaxy_da.extraction.problems import count_problems
from galaxy_da.images.cutouts import Cutout
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey


@dataclass(frozen=True, kw_only=True)
class PairedSample:
    """Cutouts of one survey, and their pair table from the anchor."""

    sample: Sample
    pairs: pa.Table

    def rows_by_anchor(self, anchor: Sample) -> np.ndarray:
        """Return this sample's row for each row of the anchor's sample, -1 without a pair."""
        paired = PairedRows.of(self.pairs, anchor, self.sample, SkySplit())
        rows = np.full(len(anchor), -1)
        rows[paired.anchor] = paired.target
        return rows


@dataclass(frozen=True, kw_only=True)
class TargetSurvey(PairedSample):
    """A survey to compare with the anchor."""

    survey: Survey

    def paired_rows(self, anchor: Sample, space: LatentSpace) -> PairedRows:
        """Return the row numbers of the pairs in the anchor's sample and in this one.

        An adapted survey has the split of the sky that its adaptation recorded. For another survey,
        the pairs' positions choose it.
        """
        name, split = self.survey.name, None
        if name in space.surveys and name != space.anchor:
            split = recorded_split(space.encoder(name).record)
        return PairedRows.of(self.pairs, anchor, self.sample, split, known=known_splits(space))


def encoder_for(space: LatentSpace, sample: Sample, survey: Survey) -> SurveyEncoder:
    """Return the encoder of a sample's survey: adapted, or by the survey's definition."""
    adapted = survey.name in space.surveys
    return space.encoder(survey, None if adapted else sample_bands(sample, survey))


def known_splits(space: LatentSpace) -> tuple[SkySplit, ...]:
    """Return the splits of the sky that the training and adaptations of a space recorded."""
    records = [space.training, *(space.encoder(name).record for name in space.surveys)]
    return tuple(dict.fromkeys(recorded_split(record) for record in records if "split" in record))


def sample_bands(sample: Sample, survey: Survey) -> tuple[str, ...]:
    """Return the bands of a sample's first readable cutout.

    If there is none, CatalogError gives the reasons.
    """
    problems = []
    for _, cutouts in read_batches(sample, {survey.name: survey}):
        for cutout in cutouts:
            if isinstance(cutout, Cutout):
                return cutout.bands
            problems.append((cutout.status, str(cutout)))
    reasons = "; ".join(
        f"{n['rows']} of {len(problems)}: {m}" for m, n in count_problems(problems).items()
    )
    raise CatalogError(f"{sample.path}: holds no readable cutout ({reasons or 'no row'})")
