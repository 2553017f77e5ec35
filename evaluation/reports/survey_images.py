"""Cutouts of one survey as a report shows them, and its test pairs in the index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalogs.matching.pairs import PairedRows
from evaluation.reports.pictures import thumbnails
from evaluation.targets import encoder_for
from galaxy_da.errors import CatalogError
from galaxy_da.images.preparation import Frame
from galaxy_da.io.samples import Sample
from galaxy_da.latent_index import LatentIndex
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey

SEED = 0
"""Seed of the random choices of a page."""

_RANDOM_PAIRS = 20_000


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A thumbnail with its texts; `uri` is None if there is no usable cutout."""

    uri: str | None
    alt: str
    caption: str
    is_match: bool = False


@dataclass(frozen=True, kw_only=True)
class SurveyImages:
    """Cutouts of one survey, with their encoder and their rows in the index (-1: none)."""

    sample: Sample
    encoder: SurveyEncoder
    frame: Frame
    in_index: np.ndarray

    @property
    def name(self) -> str:
        """Name of the survey."""
        return self.encoder.survey.name

    @property
    def title(self) -> str:
        """Title of the survey without its bracketed part."""
        return self.encoder.survey.title.partition(" (")[0]

    @property
    def indexed(self) -> int:
        """Number of the cutouts that are in the index."""
        return int((self.in_index >= 0).sum())

    @cached_property
    def ids(self) -> np.ndarray:
        """(n,) object ids."""
        return np.array(self.sample.catalog["object_id"].to_pylist())

    def pictures(
        self, rows: np.ndarray, captions: Sequence[str], match: str | None = None
    ) -> list[Picture]:
        """Show rows (-1: no image), marking the one whose object id is `match`."""
        ids = np.where(rows < 0, "", self.ids[rows])
        return [
            Picture(uri=uri, alt=f"{self.title} {i}".rstrip(), caption=caption, is_match=i == match)
            for uri, i, caption in zip(
                thumbnails(self.sample, rows, self.encoder, self.frame), ids, captions, strict=True
            )
        ]


@dataclass(frozen=True, kw_only=True)
class PairsInIndex:
    """A survey's test pairs that are in the index; the first two arrays are by anchor galaxy."""

    images: SurveyImages
    rows: np.ndarray  # in the survey's sample, -1 without a pair
    distance: np.ndarray  # in latents, of the two images, NaN without a pair
    random: np.ndarray  # (20000,) distances of images of two different galaxies, ascending


def survey_images(
    space: LatentSpace, index: LatentIndex, sample: Sample, survey: Survey
) -> SurveyImages:
    """Find a survey's cutouts in the index; others than adapted ones are read by definition."""
    start, stop = index.span(survey.name)
    known = index.rows["object_id"].slice(start, stop - start).combine_chunks()
    found = pc.index_in(sample.catalog["object_id"].cast(pa.string()), value_set=known)
    places = np.asarray(pc.fill_null(pc.add(found, start), -1))
    return SurveyImages(
        sample=sample,
        encoder=encoder_for(space, sample, survey),
        frame=space.frame,
        in_index=places,
    )


def pairs_in_index(
    index: LatentIndex, anchor: SurveyImages, images: SurveyImages, paired: PairedRows
) -> PairsInIndex:
    """Measure latent distances of the test pairs, and of random pairs among them."""
    test = paired.only("test")
    first, second = anchor.in_index[test.anchor], images.in_index[test.target]
    indexed = (first >= 0) & (second >= 0)
    n = int(indexed.sum())
    if n < 2:
        raise CatalogError(
            f"{images.name}: {n} of {len(test)} test pairs are in the index, at least two are "
            "needed; index the samples that were evaluated"
        )
    here, there = index.vectors[first[indexed]], index.vectors[second[indexed]]
    rng = np.random.default_rng(SEED)
    one = rng.integers(n, size=_RANDOM_PAIRS)
    other = (one + rng.integers(1, n, _RANDOM_PAIRS)) % n
    rows, distance = np.full(len(anchor.sample), -1), np.full(len(anchor.sample), np.nan)
    rows[test.anchor[indexed]] = test.target[indexed]
    distance[test.anchor[indexed]] = np.linalg.norm(here - there, axis=1)
    random = np.sort(np.linalg.norm(here[one] - there[other], axis=1))
    return PairsInIndex(images=images, rows=rows, distance=distance, random=random)
