"""A survey to evaluate: its cutouts, their pairs with the anchor, its encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from catalogs.matching.pairs import PairedRows
from galaxy_da.errors import CatalogError
from galaxy_da.extraction.loading import read_batches
from galaxy_da.images.cutouts import Cutout
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey

__all__ = ["PairedSample", "TargetSurvey", "encoder_for", "sample_bands"]


@dataclass(frozen=True, kw_only=True)
class PairedSample:
    """Cutouts paired with those of the anchor.

    Attributes
    ----------
    sample : Sample
        Cutouts of one survey.
    pairs : pa.Table
        Pair table from the anchor to the sample.
    """

    sample: Sample
    pairs: pa.Table

    def paired_rows(self, anchor: Sample) -> PairedRows:
        """Return the row numbers of the pairs in the anchor's sample and in this one."""
        return PairedRows.of(self.pairs, anchor, self.sample)

    def rows_by_anchor(self, anchor: Sample) -> np.ndarray:
        """Return this sample's row for each row of the anchor's sample, -1 without a pair."""
        paired, rows = self.paired_rows(anchor), np.full(len(anchor), -1)
        rows[paired.anchor] = paired.target
        return rows


@dataclass(frozen=True, kw_only=True)
class TargetSurvey(PairedSample):
    """A survey to compare with the anchor.

    Attributes
    ----------
    sample, pairs
        As for `PairedSample`.
    survey : Survey
        Definition of the survey.
    rotated : PairedSample, optional
        The same galaxies observed with the camera at random angles, for pose-free recall.
    """

    survey: Survey
    rotated: PairedSample | None = None


def encoder_for(space: LatentSpace, sample: Sample, survey: Survey) -> SurveyEncoder:
    """Return a survey's own encoder, or the un-adapted one if the space has none."""
    if survey.name in space.surveys:
        return space.encoder(survey.name)
    return space.unadapted(survey, sample_bands(sample, survey))


def sample_bands(sample: Sample, survey: Survey) -> tuple[str, ...]:
    """Return the bands of a sample's first readable cutout.

    Raises
    ------
    CatalogError
        If no cutout is readable.
    """
    for _, cutouts in read_batches(sample, {survey.name: survey}):
        for cutout in cutouts:
            if isinstance(cutout, Cutout):
                return cutout.bands
    raise CatalogError(f"{sample.path}: holds no readable cutout")
