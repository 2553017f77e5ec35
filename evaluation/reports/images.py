"""One survey's cutouts as a report shows them, and its test pairs in the index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalogs.matching.pairs import PairedRows
from evaluation.evaluate import sample_bands
from evaluation.reports.pictures import thumbnails
from galaxy_da.errors import CatalogError
from galaxy_da.images.preparation import Frame
from galaxy_da.io.samples import Sample
from galaxy_da.latent_index import LatentIndex
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey

__all__ = ["SEED", "PairsInIndex", "Picture", "View", "pairs_in_index", "view_of"]

SEED = 0
"""Of what a page picks."""

_RANDOM_PAIRS = 20_000


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A thumbnail and what is said of it; `uri` is None where there is no usable cutout."""

    uri: str | None
    alt: str
    caption: str
    is_match: bool = False


@dataclass(frozen=True, kw_only=True)
class View:
    """One survey's cutouts, how they enter the frame, and their rows in the index (-1: none)."""

    sample: Sample
    encoder: SurveyEncoder
    frame: Frame
    in_index: np.ndarray

    @property
    def name(self) -> str:
        """The survey's name."""
        return self.encoder.survey.name

    @property
    def title(self) -> str:
        """The survey's title up to a bracket."""
        return self.encoder.survey.title.partition(" (")[0]

    @property
    def indexed(self) -> int:
        """How many of the cutouts are in the index."""
        return int((self.in_index >= 0).sum())

    @cached_property
    def ids(self) -> np.ndarray:
        """(n,) str array of object ids."""
        return np.array(self.sample.catalog["object_id"].to_pylist())

    def pictures(
        self, rows: np.ndarray, captions: Sequence[str], match: str | None = None
    ) -> list[Picture]:
        """Show rows (-1: nothing to show), marking the one whose object id is `match`."""
        ids = np.where(rows < 0, "", self.ids[rows])
        return [
            Picture(uri=uri, alt=f"{self.title} {i}".rstrip(), caption=caption, is_match=i == match)
            for uri, i, caption in zip(
                thumbnails(self.sample, rows, self.encoder, self.frame), ids, captions, strict=True
            )
        ]


@dataclass(frozen=True, kw_only=True)
class PairsInIndex:
    """A survey's test pairs that are in the index.

    Attributes
    ----------
    view : View
    rows : (anchor sample,) int array
        Row of each anchor galaxy in the survey's sample, -1 where it has none.
    distance : (anchor sample,) float array
        Latent distance of its two images, NaN where there is none.
    random : (20000,) float array
        Distances of images of two galaxies, ascending.
    """

    view: View
    rows: np.ndarray
    distance: np.ndarray
    random: np.ndarray


def view_of(space: LatentSpace, index: LatentIndex, sample: Sample, survey: Survey) -> View:
    """Show a survey through its encoder, or the un-adapted anchor's where it has none."""
    if survey.name in space.surveys:
        encoder = space.encoder(survey.name)
    else:
        encoder = space.unadapted(survey, sample_bands(sample, survey))
    start, stop = index.span(survey.name)
    known = index.rows["object_id"].slice(start, stop - start).combine_chunks()
    found = pc.index_in(sample.catalog["object_id"].cast(pa.string()), value_set=known)
    places = np.asarray(pc.fill_null(pc.add(found, start), -1))
    return View(sample=sample, encoder=encoder, frame=space.frame, in_index=places)


def pairs_in_index(index: LatentIndex, anchor: View, view: View, pairs: pa.Table) -> PairsInIndex:
    """Measure the test pairs, and images of two different galaxies among them."""
    test = PairedRows.of(pairs, anchor.sample, view.sample).only("test")
    first, second = anchor.in_index[test.anchor], view.in_index[test.target]
    found = (first >= 0) & (second >= 0)
    n = int(found.sum())
    if n < 2:
        raise CatalogError(
            f"{view.name}: {n} of {len(test)} test pairs are in the index, at least two are "
            "needed; index the samples that were evaluated"
        )
    here, there = index.vectors[first[found]], index.vectors[second[found]]
    rng = np.random.default_rng(SEED)
    one = rng.integers(n, size=_RANDOM_PAIRS)
    other = (one + rng.integers(1, n, _RANDOM_PAIRS)) % n
    rows, distance = np.full(len(anchor.sample), -1), np.full(len(anchor.sample), np.nan)
    rows[test.anchor[found]] = test.target[found]
    distance[test.anchor[found]] = np.linalg.norm(here - there, axis=1)
    random = np.sort(np.linalg.norm(here[one] - there[other], axis=1))
    return PairsInIndex(view=view, rows=rows, distance=distance, random=random)
