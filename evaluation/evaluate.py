"""Measure one survey in a space, on galaxies neither training nor selection has seen.

Cutouts have north up, so all latents are compared, those of the view too; `evaluation.reports`
says what the galaxy's latents alone find, and what they find with the camera turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.matching.pairs import PairedRows
from evaluation.retrieval import Retrieval, retrieve
from galaxy_da.errors import CatalogError
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.tables import Sample
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey

__all__ = ["Evaluation", "evaluate", "sample_bands"]

POOL = 1000
"""Galaxies in the retrieval pool; a smaller test part is used whole and said so."""

_FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One survey's figures on the test part of the sky.

    Attributes
    ----------
    survey : str
        The target.
    chosen : str
        The candidate adaptation picked; ``unadapted`` where the space has no encoder of its own.
    adapted, unadapted : Retrieval
        With the survey's own encoder, and with the anchor's.
    ceiling : Retrieval, optional
        A second, independent anchor observation of the same galaxies against the first.
    """

    survey: str
    chosen: str
    adapted: Retrieval
    unadapted: Retrieval
    ceiling: Retrieval | None

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "survey": self.survey,
            "chosen": self.chosen,
            "adapted": self.adapted.as_dict(),
            "unadapted": self.unadapted.as_dict(),
            "ceiling": self.ceiling.as_dict() if self.ceiling else None,
        }


def evaluate(
    space: LatentSpace,
    anchor: Sample,
    target: Sample,
    pairs: pa.Table,
    *,
    survey: Survey,
    repeat: tuple[Sample, pa.Table] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a target survey: its cutouts are the queries, the anchor's are the pool.

    Parameters
    ----------
    space : LatentSpace
        With or without an encoder for the target.
    anchor, target : Sample
        The two surveys' cutouts.
    pairs : pa.Table
        Pair table from the anchor to the target.
    survey : Survey
        The target's definition.
    repeat : (Sample, pair table), optional
        A second anchor observation, for the ceiling. Then all three measures use the galaxies that
        were observed every time.
    seed : int
        Of the fixed pool and the bootstrap.

    Raises
    ------
    CatalogError
        If fewer than 20 pairs fall in the test part of the sky.
    """
    rows = PairedRows.of(pairs, anchor, target).only("test")
    again = None
    if repeat is not None:
        rows, again = _seen_again(rows, anchor, repeat)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:POOL])
    own = space.encoder(space.anchor)
    plain = space.unadapted(survey, sample_bands(target, survey))
    adapted = space.encoder(survey.name) if survey.name in space.surveys else plain
    pool, seen = _latents(space, anchor, rows.anchor[chosen], own)
    queries, seen_adapted = _latents(space, target, rows.target[chosen], adapted)
    before, _ = _latents(space, target, rows.target[chosen], plain)
    good = seen & seen_adapted
    second = None
    if again is not None and repeat is not None:
        second, seen_again = _latents(space, repeat[0], again[chosen], own)
        good &= seen_again
    if good.sum() < _FEWEST:
        raise CatalogError(
            f"{survey.name}: only {int(good.sum())} usable pairs fall in the test part of the sky, "
            f"at least {_FEWEST} are needed; match a larger area"
        )
    return Evaluation(
        survey=survey.name,
        chosen=str(adapted.record.get("chosen", "unadapted")),
        adapted=retrieve(queries[good], pool[good], seed),
        unadapted=retrieve(before[good], pool[good], seed),
        ceiling=None if second is None else retrieve(second[good], pool[good], seed),
    )


def sample_bands(sample: Sample, survey: Survey) -> tuple[str, ...]:
    """Bands that a sample's first readable cutout carries."""
    from galaxy_da.extraction.loading import read_batches
    from galaxy_da.images.cutouts import Cutout

    for _, cutouts in read_batches(sample, {survey.name: survey}):
        for cutout in cutouts:
            if isinstance(cutout, Cutout):
                return cutout.bands
    raise CatalogError(f"{sample.path}: holds no readable cutout")


def _seen_again(
    rows: PairedRows, anchor: Sample, repeat: tuple[Sample, pa.Table]
) -> tuple[PairedRows, np.ndarray]:
    """Keep pairs whose anchor galaxy was observed again, with its row in the repeat."""
    twice = PairedRows.of(repeat[1], anchor, repeat[0])
    second = np.full(len(anchor), -1)
    second[twice.anchor] = twice.target
    kept = second[rows.anchor] >= 0
    some = PairedRows(anchor=rows.anchor[kept], target=rows.target[kept], part=rows.part[kept])
    return some, second[some.anchor]


def _latents(
    space: LatentSpace, sample: Sample, rows: np.ndarray, encoder: SurveyEncoder
) -> tuple[np.ndarray, np.ndarray]:
    images, ok = load_images(sample, rows, encoder, space.frame)
    return space.encode(images, encoder).mean.numpy(), ok
