"""Everything measured of one survey beside its recall, on the test part of the sky.

What needs a column (magnitude, size, class), a second look with a turned camera, or a probability
of sameness is measured where there is one, and left out where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from astropy_healpix import HEALPix

from catalogs.matching.pairs import PairedRows
from evaluation.distractors import (
    HARD_POOL,
    distance_contrast,
    matched_distractors,
    ranks_among,
)
from evaluation.domains import domain_auc
from evaluation.evaluate import POOL, sample_bands
from evaluation.match_probability import calibration, match_trials
from evaluation.reports.known_columns import Known
from evaluation.retrieval import match_ranks, recall_of
from evaluation.strata import MAGNITUDES, SIZES_OVER_PSF, by_stratum
from evaluation.transfer import MorphologyClassifier, gap_closed
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey

__all__ = ["LABEL", "Details", "measure_details"]

LABEL = "label"
_PROPERTIES = ("r_mag", "half_light_arcsec", "g_minus_r")
_STAGES = ("unadapted", "adapted")
_FEWEST = 20
_FEWEST_PER_CLASS = 5
_MOST_TAUGHT = 2000
_CELL_NSIDE = 32


@dataclass(frozen=True, kw_only=True)
class Details:
    """Figures of one survey.

    Attributes
    ----------
    survey : str
        The target.
    figures : dict
        Plain values: ``hard``, ``turned``, ``strata``, ``distances``, ``domains``, ``transfer``
        and ``sameness``, those that could be measured.
    hard_distances : (n,) float array, optional
        Latent distances of adapted images to one galaxy of like brightness, size and colour each.
    """

    survey: str
    figures: dict[str, Any]
    hard_distances: np.ndarray | None = None


def measure_details(
    space: LatentSpace,
    anchor: Sample,
    target: Sample,
    pairs: pa.Table,
    *,
    survey: Survey,
    known: Known,
    rotated: tuple[Sample, pa.Table] | None = None,
    seed: int = 0,
) -> Details:
    """Measure a target survey on the test part of the sky.

    Parameters
    ----------
    space : LatentSpace
        With or without an encoder for the target.
    anchor, target, pairs
        As for `evaluation.evaluate.evaluate`.
    survey : Survey
        The target's definition.
    known : Known
        Columns of the anchor's galaxies: ``r_mag``, ``half_light_arcsec``, ``g_minus_r`` and
        ``label`` are used where they are.
    turned : (Sample, pair table), optional
        Another look of the target with the camera at random angles.
    seed : int
        Of the pool, the random pairs and the classifiers.
    """
    exam = _Exam(space, anchor, target, pairs, survey, seed)
    figures: dict[str, Any] = {
        "domains": {stage: domain_auc(exam.pool, exam.queries[stage], exam.cells, seed)
                    for stage in _STAGES}
        if len(np.unique(exam.cells)) >= _FEWEST_PER_CLASS and len(exam.pool) >= _FEWEST
        else None,
        "rotated": None if rotated is None else exam.pose_free(rotated),
        "strata": exam.strata(known),
        "transfer": exam.transfer(known),
        "match_probability": exam.match_probability(),
    }  # fmt: skip
    hard, distances = exam.hard(known)
    figures |= hard
    return Details(
        survey=survey.name,
        figures={name: value for name, value in figures.items() if value},
        hard_distances=distances,
    )


class _Exam:
    """Latents of the test pairs, before and after adapting."""

    def __init__(
        self,
        space: LatentSpace,
        anchor: Sample,
        target: Sample,
        pairs: pa.Table,
        survey: Survey,
        seed: int,
    ) -> None:
        self.space, self.anchor, self.target, self.survey = space, anchor, target, survey
        self.seed = seed
        self.paired = PairedRows.of(pairs, anchor, target)
        rows = self.paired.only("test", POOL, seed)
        plain = space.unadapted(survey, sample_bands(target, survey))
        own = space.encoder(survey.name) if survey.name in space.surveys else plain
        self.encoders = {"unadapted": plain, "adapted": own}
        here, seen = self._posterior(anchor, rows.anchor, space.encoder(space.anchor))
        there = {
            stage: self._posterior(target, rows.target, encoder)
            for stage, encoder in self.encoders.items()
        }
        good = np.all([seen, *(ok for _, ok in there.values())], axis=0)
        self.rows, self.target_rows = rows.anchor[good], rows.target[good]
        self.pool, self.pool_variance = (part[good] for part in here)
        self.posteriors = {
            stage: (mean[good], variance[good]) for stage, ((mean, variance), _) in there.items()
        }
        self.queries = {stage: mean for stage, (mean, _) in self.posteriors.items()}
        self.own = np.arange(len(self.rows))

    @property
    def cells(self) -> np.ndarray:
        ra, dec = (np.asarray(self.anchor.catalog[name])[self.rows] for name in ("ra", "dec"))
        place = HEALPix(_CELL_NSIDE, order="nested").lonlat_to_healpix(*_degrees(ra, dec))
        return np.asarray(place)

    def pose_free(self, rotated: tuple[Sample, pa.Table]) -> dict[str, Any]:
        """Recall of turned looks at the same galaxies, in the same pool."""
        sample, pairs = rotated
        found = PairedRows.of(pairs, self.anchor, sample)
        place = np.full(len(self.anchor), -1)
        place[found.anchor] = found.target
        own = np.flatnonzero(place[self.rows] >= 0)
        result = {}
        for stage, encoder in self.encoders.items():
            (mean, _), ok = self._posterior(sample, place[self.rows[own]], encoder)
            aligned = match_ranks(self.queries[stage][own[ok]], self.pool, own[ok])
            ranks = match_ranks(mean[ok], self.pool, own[ok])
            result[stage] = {
                "rotated": recall_of(ranks, len(self.pool), self.seed).as_dict(),
                "aligned": recall_of(aligned, len(self.pool), self.seed).as_dict(),
            }
        return result

    def strata(self, known: Known) -> dict[str, Any]:
        """Recall by magnitude and by size over the target's PSF."""
        values = {}
        magnitude, size = (known.numbers(name) for name in _PROPERTIES[:2])
        if magnitude is not None:
            values["r_mag"] = (magnitude[self.rows], MAGNITUDES)
        if size is not None:
            values["size_over_psf"] = (size[self.rows] / self._psf_arcsec(), SIZES_OVER_PSF)
        ranks = {stage: match_ranks(self.queries[stage], self.pool) for stage in _STAGES}
        return {
            name: {
                stage: {
                    key: recall.as_dict()
                    for key, recall in by_stratum(
                        ranks[stage], len(self.pool), np.nan_to_num(of, nan=-np.inf), edges,
                        self.seed,
                    ).items()
                }
                for stage in _STAGES
            }
            for name, (of, edges) in values.items()
        }  # fmt: skip

    def hard(self, known: Known) -> tuple[dict[str, Any], np.ndarray | None]:
        """Recall among, and distances to, galaxies of like brightness, size and colour."""
        columns = [known.numbers(name) for name in _PROPERTIES]
        given = [column[self.rows] for column in columns if column is not None]
        if columns[0] is None or len(self.rows) < _FEWEST:
            return {}, None
        properties = np.stack(given, axis=1)
        if not np.isfinite(properties).all():
            return {}, None
        k = min(HARD_POOL, len(self.rows)) - 1
        alike = matched_distractors(properties, self.own, k)
        recall, distances = {}, {}
        for stage, queries in self.queries.items():
            ranks = ranks_among(queries, self.pool, self.own, alike)
            recall[stage] = recall_of(ranks, k + 1, self.seed).as_dict()
            distances[stage] = distance_contrast(queries, self.pool, self.own, alike, self.seed)
        picked = alike[self.own, np.random.default_rng(self.seed).integers(k, size=len(alike))]
        apart = np.linalg.norm(self.queries["adapted"] - self.pool[picked], axis=1)
        return {"hard": recall, "distances": distances}, apart

    def transfer(self, known: Known) -> dict[str, Any] | None:
        """Teach classes on the anchor's training galaxies; test on the target's."""
        labels = known.words(LABEL)
        if labels is None:
            return None
        taught = self.paired.only("train", _MOST_TAUGHT, self.seed).anchor
        (mean, _), ok = self._posterior(self.anchor, taught, self.space.encoder(self.space.anchor))
        ok &= labels[taught] != ""
        told = labels[self.rows] != ""
        classes, counts = np.unique(labels[taught[ok]], return_counts=True)
        if len(classes) < 2 or counts.min() < _FEWEST_PER_CLASS or told.sum() < _FEWEST:
            return None
        classifier = MorphologyClassifier(mean[ok], labels[taught[ok]], self.seed)
        sides = {"in_domain": self.pool, **self.queries}
        truth = labels[self.rows][told]
        scores = {name: classifier.score(latents[told], truth) for name, latents in sides.items()}
        return {
            "classes": classes.tolist(),
            "scores": scores,
            "confusion": {
                name: classifier.confusion(latents[told], truth).tolist()
                for name, latents in sides.items()
            },
            "gap_closed": gap_closed(
                *(scores[name]["macro_f1"] for name in (*_STAGES, "in_domain"))
            ),
        }

    def match_probability(self) -> dict[str, Any] | None:
        """Judge the stated probability that two cutouts show one galaxy, where there is one."""
        if self.survey.name not in self.space.surveys:
            return None
        if "match_probability" not in self.encoders["adapted"].record:
            return None
        model = self.space.match_probability(self.space.anchor, self.survey.name)
        trials = match_trials(
            model,
            self.posteriors["adapted"],
            (self.pool, self.pool_variance),
            self.own,
            self.seed,
        )
        return calibration(trials)

    def _psf_arcsec(self) -> np.ndarray:
        """(n,) PSF FWHM of the target's cutouts, or of its band nearest to r."""
        name = "psf_fwhm_arcsec"
        if name in self.target.catalog.column_names:
            column = np.asarray(self.target.catalog[name].cast(pa.float64()))
            return np.asarray(column[self.target_rows])
        band = self.survey.nearest_band(642.0, among=self.survey.band_names)
        return np.full(len(self.rows), band.psf_fwhm_arcsec)

    def _posterior(
        self, sample: Sample, rows: np.ndarray, encoder: SurveyEncoder
    ) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        images, ok = load_images(sample, rows, encoder, self.space.frame)
        posterior = self.space.encode(images, encoder)
        galaxy = self.space.galaxy_latents
        return (posterior.mean[:, :galaxy].numpy(), posterior.variance[:, :galaxy].numpy()), ok


def _degrees(*angles: np.ndarray) -> Sequence[Any]:
    from astropy import units as u

    return [u.Quantity(angle, u.deg) for angle in angles]
