"""Details of one survey beside its recall, on the test part of the sky.

Each measure needs something: a column (magnitude, size, class), or a model of the match
probability. A measure whose input is missing is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy_healpix import lonlat_to_healpix

from evaluation.distractors import HARD_POOL, distance_contrast, matched_distractors, ranks_among
from evaluation.domains import domain_auc
from evaluation.evaluate import POOL, Evaluation
from evaluation.match_probability import calibration, match_trials
from evaluation.retrieval import match_ranks, recall_of
from evaluation.strata import MAGNITUDES, SIZES_OVER_PSF, by_stratum
from evaluation.targets import TargetSurvey, sample_bands
from evaluation.transfer import MorphologyClassifier, gap_closed
from evaluation.truth import GalaxyProperties
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.samples import Sample
from galaxy_da.space import LatentSpace, SurveyEncoder

_LABEL = "label"
_PROPERTIES = ("r_mag", "half_light_arcsec", "g_minus_r")
_ENCODERS = ("by_definition", "adapted")
_FEWEST = 20
_FEWEST_PER_CLASS, _FEWEST_CELLS = 5, 5
_MOST_TRAINING = 2000
_COARSER_ORDERS = 1  # than the cells of the split, for cross-validation
_R_NM = 642.0


@dataclass(frozen=True, kw_only=True)
class Details:
    """Figures of one survey beside its recall.

    `figures` holds plain values of the measures that had their input: ``hard``, ``strata``,
    ``distances``, ``domains``, ``transfer`` and ``match_probability``.
    `hard_distances`, (n,), are latent distances of each adapted image to one galaxy of similar
    brightness, size and colour.
    """

    survey: str
    figures: dict[str, Any]
    hard_distances: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class SurveyResult:
    """Everything measured of one target survey, as reports take it."""

    target: TargetSurvey
    evaluation: Evaluation
    details: Details | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return {**self.evaluation.as_dict(), **(self.details.figures if self.details else {})}


def measure_details(
    space: LatentSpace,
    anchor: Sample,
    target: TargetSurvey,
    properties: GalaxyProperties,
    seed: int = 0,
) -> Details:
    """Measure a target survey on the test part of the sky.

    The columns ``r_mag``, ``half_light_arcsec``, ``g_minus_r`` and ``label`` of the anchor's
    galaxies are used where they are there. `seed` is that of the pool, the random pairs and the
    classifiers.
    """
    test = _TestLatents(space, anchor, target, seed)
    hard, distances = test.hard(properties)
    figures: dict[str, Any] = {
        "domains": test.domains(),
        "strata": test.strata(properties),
        "transfer": test.transfer(properties),
        "match_probability": test.match_probability(),
        **hard,
    }
    return Details(
        survey=target.survey.name,
        figures={name: value for name, value in figures.items() if value},
        hard_distances=distances,
    )


class _TestLatents:
    """Galaxy latents of the test pairs, before and after adapting."""

    def __init__(self, space: LatentSpace, anchor: Sample, target: TargetSurvey, seed: int) -> None:
        self.space, self.anchor, self.target, self.seed = space, anchor, target, seed
        self.paired = target.paired_rows(anchor, space)
        rows = self.paired.only("test", POOL, seed)
        survey = target.survey
        plain = space.by_definition(survey, sample_bands(target.sample, survey))
        own = space.encoder(survey.name) if survey.name in space.surveys else plain
        self.encoders = {"by_definition": plain, "adapted": own}
        pool, usable = self._posterior(anchor, rows.anchor, space.encoder(space.anchor))
        queries = {}
        for name, encoder in self.encoders.items():
            queries[name], usable_too = self._posterior(target.sample, rows.target, encoder)
            usable = usable & usable_too
        self.rows, self.target_rows = rows.anchor[usable], rows.target[usable]
        self.pool, self.pool_variance = (part[usable] for part in pool)
        self.posteriors = {
            name: (mean[usable], variance[usable]) for name, (mean, variance) in queries.items()
        }
        self.queries = {name: mean for name, (mean, _) in self.posteriors.items()}
        self.own = np.arange(len(self.rows))

    def domains(self) -> dict[str, Any] | None:
        """Classify latents by survey."""
        ra, dec = (np.asarray(self.anchor.catalog[name])[self.rows] for name in ("ra", "dec"))
        nside = 2 ** max(self.paired.split.order - _COARSER_ORDERS, 0)
        cells = np.asarray(lonlat_to_healpix(ra * u.deg, dec * u.deg, nside, order="nested"))
        if len(np.unique(cells)) < _FEWEST_CELLS or len(self.pool) < _FEWEST:
            return None
        return {
            name: domain_auc(self.pool, queries, cells, self.seed)
            for name, queries in self.queries.items()
        }

    def strata(self, properties: GalaxyProperties) -> dict[str, Any]:
        """Measure recall by magnitude and by size over the target's PSF."""
        strata = {}
        magnitude, size = (properties.numbers(name) for name in _PROPERTIES[:2])
        if magnitude is not None:
            strata["r_mag"] = (magnitude[self.rows], MAGNITUDES)
        if size is not None:
            strata["size_over_psf"] = (size[self.rows] / self._psf_arcsec(), SIZES_OVER_PSF)
        ranks = {name: match_ranks(queries, self.pool) for name, queries in self.queries.items()}

        def recalls(name: str, values: np.ndarray, edges: tuple[float, ...]) -> dict[str, Any]:
            known = np.nan_to_num(values, nan=-np.inf)
            found = by_stratum(ranks[name], len(self.pool), known, edges, self.seed)
            return {stratum: recall.as_dict() for stratum, recall in found.items()}

        return {
            quantity: {name: recalls(name, values, edges) for name in _ENCODERS}
            for quantity, (values, edges) in strata.items()
        }

    def hard(self, properties: GalaxyProperties) -> tuple[dict[str, Any], np.ndarray | None]:
        """Measure recall among, and distances to, galaxies of similar light, size and colour."""
        columns = [properties.numbers(name) for name in _PROPERTIES]
        if columns[0] is None or len(self.rows) < _FEWEST:
            return {}, None
        known = np.stack([column[self.rows] for column in columns if column is not None], axis=1)
        if not np.isfinite(known).all():
            return {}, None
        k = min(HARD_POOL, len(self.rows)) - 1
        similar = matched_distractors(known, self.own, k)
        recall, distances = {}, {}
        for name, queries in self.queries.items():
            ranks = ranks_among(queries, self.pool, self.own, similar)
            recall[name] = recall_of(ranks, k + 1, self.seed).as_dict()
            distances[name] = distance_contrast(queries, self.pool, self.own, similar, self.seed)
        column = np.random.default_rng(self.seed).integers(k, size=len(similar))
        hard = self.pool[similar[self.own, column]]
        hard_distances = np.linalg.norm(self.queries["adapted"] - hard, axis=1)
        return {"hard": recall, "distances": distances}, hard_distances

    def transfer(self, properties: GalaxyProperties) -> dict[str, Any] | None:
        """Train a classifier on the anchor's training galaxies; test it on the target's."""
        labels = properties.texts(_LABEL)
        if labels is None:
            return None
        training = self.paired.only("train", _MOST_TRAINING, self.seed).anchor
        own = self.space.encoder(self.space.anchor)
        (mean, _), ok = self._posterior(self.anchor, training, own)
        ok &= labels[training] != ""
        labelled = labels[self.rows] != ""
        classes, counts = np.unique(labels[training[ok]], return_counts=True)
        if len(classes) < 2 or counts.min() < _FEWEST_PER_CLASS or labelled.sum() < _FEWEST:
            return None
        classifier = MorphologyClassifier(mean[ok], labels[training[ok]], self.seed)
        tested = {
            name: latents[labelled]
            for name, latents in {"in_domain": self.pool, **self.queries}.items()
        }
        truth = labels[self.rows][labelled]
        scores = {name: classifier.score(latents, truth) for name, latents in tested.items()}
        confusion = {name: classifier.confusion(latents, truth) for name, latents in tested.items()}
        return {
            "classes": classes.tolist(),
            "scores": scores,
            "confusion": {name: counts.tolist() for name, counts in confusion.items()},
            "gap_closed": gap_closed(
                *(scores[name]["macro_f1"] for name in (*_ENCODERS, "in_domain"))
            ),
        }

    def match_probability(self) -> dict[str, Any] | None:
        """Calibrate the match probability, if the adapted encoder has a model of it."""
        name = self.target.survey.name
        if name not in self.space.surveys:
            return None
        if "match_probability" not in self.encoders["adapted"].record:
            return None
        model = self.space.match_probability(self.space.anchor, name)
        pool = (self.pool, self.pool_variance)
        return calibration(
            match_trials(model, self.posteriors["adapted"], pool, self.own, self.seed)
        )

    def _psf_arcsec(self) -> np.ndarray:
        """Return the (n,) PSF FWHM of the target's cutouts, or that of its band nearest to r."""
        name, catalog = "psf_fwhm_arcsec", self.target.sample.catalog
        if name in catalog.column_names:
            psf = np.asarray(catalog[name].cast(pa.float64()))
            return np.asarray(psf[self.target_rows])
        survey = self.target.survey
        band = survey.nearest_band(_R_NM, among=survey.band_names)
        return np.full(len(self.rows), band.psf_fwhm_arcsec)

    def _posterior(
        self, sample: Sample, rows: np.ndarray, encoder: SurveyEncoder
    ) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Encode rows of a sample; the last array marks usable cutouts."""
        inputs, ok = load_images(sample, rows, encoder, self.space.frame)
        posterior = self.space.encode(inputs, encoder)
        galaxy = self.space.galaxy_latents
        return (posterior.mean[:, :galaxy].numpy(), posterior.variance[:, :galaxy].numpy()), ok
