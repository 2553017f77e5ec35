"""One function that measures every method, from its latents alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from astropy import units as u
from astropy_healpix import lonlat_to_healpix
from torch import Tensor

from evaluation.denoising import (
    PixelPCA,
    aperture_flux,
    best_gaussian,
    compare_images,
    flux_bias,
    gaussian_filtered,
)
from evaluation.distractors import (
    HARD_POOL,
    distance_contrast,
    matched_distractors,
    ranks_among,
)
from evaluation.domains import domain_auc
from evaluation.retrieval import Recall, match_ranks, recall_of
from evaluation.strata import FAINT_MAG, MAGNITUDES, SIZES_OVER_PSF, by_stratum
from evaluation.transfer import MorphologyClassifier
from galaxy_da.images.preparation import Frame

__all__ = ["Exam", "Latents", "image_baselines", "measure", "measure_images"]

_CELL_NSIDE = 64
_RANGE_QUANTILES = (0.0005, 0.9995)


@dataclass(frozen=True, kw_only=True)
class Exam:
    """The test galaxies of one target on one sky, and what is known of them.

    Attributes
    ----------
    properties : (m, 3) float array
        r magnitude, log10 of half-light radius, g-r, of the n test galaxies and then the fillers.
    ra, dec : (n,) float arrays [ICRS deg]
    size_over_psf : (n,) float array
        Half-light radius over the target's PSF FWHM.
    labels : (n,) array, optional
        Morphology of the test galaxies.
    small_pool : int
        Galaxies of the smaller pool.
    seed : int
        Of bootstraps and random pairs.
    """

    properties: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    size_over_psf: np.ndarray
    labels: np.ndarray | None
    small_pool: int
    seed: int

    @property
    def r_mag(self) -> np.ndarray:
        """(n,) r magnitude of the test galaxies."""
        return self.properties[: len(self.ra), 0]

    @cached_property
    def distractors(self) -> np.ndarray:
        """(n, 99) rows of the pool, those most like each test galaxy."""
        most = min(HARD_POOL, len(self.properties)) - 1
        return matched_distractors(self.properties, np.arange(len(self.ra)), most)

    @cached_property
    def cells(self) -> np.ndarray:
        """(n,) sky cell of each test galaxy."""
        return np.asarray(lonlat_to_healpix(self.ra * u.deg, self.dec * u.deg, _CELL_NSIDE))


@dataclass(frozen=True, kw_only=True)
class Latents:
    """What a method makes of the images of an `Exam`.

    Attributes
    ----------
    pool : (m, d) float array
        The anchor's latents of test galaxies and fillers.
    looks : dict of str to (n, d) float array
        The target's latents of the test galaxies, ``aligned`` and ``turned``.
    others : (p, d) float array
        The target's latents of other galaxies, which fill the pool of the reverse direction.
    compared : dict of str to slice
        Which of the latents are compared, by look: all of them where both images have north up,
        those of the galaxy where one is turned.
    """

    pool: np.ndarray
    observations: dict[str, np.ndarray]
    others: np.ndarray
    compared: Mapping[str, slice]

    def of(self, observation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what is compared of a look: queries, pool and others."""
        some = self.compared[observation]
        return self.observations[observation][:, some], self.pool[:, some], self.others[:, some]


def measure(
    latents: Latents, exam: Exam, classifier: MorphologyClassifier | None = None
) -> dict[str, Any]:
    """Measure everything that latents can say.

    Parameters
    ----------
    latents : Latents
        Of one method.
    exam : Exam
        What it is measured on.
    classifier : MorphologyClassifier, optional
        Of the anchor's latents; needed where there are labels.

    Returns
    -------
    dict
        ``retrieval``: list of rows with ``look`` (aligned, turned), ``direction`` (forward: the
        target's image is looked for among the anchor's; reverse), ``distractors`` (random, hard),
        ``stratum`` and the fields of `evaluation.retrieval.Recall`; ``distances`` by look;
        ``domains`` and ``transfer`` (by look and ``in_domain``, where there are labels) of the
        galaxy's latents.
    """
    n = len(exam.ra)
    galaxy = latents.compared["rotated"]
    known, observations = (
        latents.pool[:n, galaxy],
        {observation: some[:, galaxy] for observation, some in latents.observations.items()},
    )
    compared = {observation: latents.of(observation) for observation in latents.observations}
    result: dict[str, Any] = {
        "retrieval": [
            {"observation": observation, **row}
            for observation, parts in compared.items()
            for row in _retrieval(*parts, exam)
        ],
        "distances": {
            observation: distance_contrast(queries, pool, np.arange(n), exam.distractors, exam.seed)
            for observation, (queries, pool, _) in compared.items()
        },
        "domains": domain_auc(known, observations["aligned"], exam.cells, exam.seed),
    }
    if exam.labels is not None and classifier is not None:
        tested = {"in_domain": known, **observations}
        result["transfer"] = {
            name: classifier.score(some, exam.labels) for name, some in tested.items()
        }
    return result


def measure_images(images: Tensor, reference: Tensor, frame: Frame, seed: int) -> dict[str, Any]:
    """Compare decoded or filtered target images with the anchor's of the same galaxies.

    Parameters
    ----------
    images, reference : (n, bands, y, x) float tensors
        In the frame's asinh units and bands.
    frame : Frame
        Their frame.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        `evaluation.denoising.compare_images`, the ``value_range`` it was given, and ``flux``:
        `evaluation.denoising.flux_bias` of 5 arcsec apertures by band.
    """
    value_range = _value_range(reference)
    here, there = (aperture_flux(some, frame) for some in (images, reference))
    return {
        **compare_images(images, reference, value_range),
        "value_range": value_range,
        "flux": {
            band: flux_bias(here[:, i], there[:, i], seed) for i, band in enumerate(frame.bands)
        },
    }


def image_baselines(
    tested: Tensor,
    reference: Tensor,
    held: tuple[Tensor, Tensor],
    training: Tensor,
    frame: Frame,
    components: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Measure what needs no latents: the image as it is, filtered, and through pixel components.

    Parameters
    ----------
    tested, reference : (n, bands, y, x) float tensors
        The target's images in the frame's bands, and the anchor's of the same galaxies.
    held : pair of (m, bands, y, x) float tensors
        The same of validation galaxies, which choose the filter.
    training : (k, bands, y, x) float tensor
        The anchor's images that give the components.
    frame : Frame
        Their frame.
    components : int
        Pixel components, as many as the space has latents.
    seed : int
        Of the decomposition and the bootstrap.

    Returns
    -------
    dict
        `measure_images` of ``raw``, ``gaussian`` (with its ``sigma_px``) and ``pca``.
    """
    sigma = best_gaussian(*held, frame.softening, _value_range(held[1]))
    components = min(components, len(training))
    pictures = {
        "raw": tested,
        "gaussian": gaussian_filtered(tested, sigma, frame.softening),
        "pca": PixelPCA(training, components, seed).rebuild(tested),
    }
    found = {
        name: measure_images(images, reference, frame, seed) for name, images in pictures.items()
    }
    found["gaussian"]["sigma_px"] = sigma
    found["pca"]["components"] = components
    return found


def _retrieval(
    queries: np.ndarray, pool: np.ndarray, others: np.ndarray, exam: Exam
) -> Iterator[dict[str, Any]]:
    n, seed = len(queries), exam.seed
    own, small = np.arange(n), min(exam.small_pool, len(pool))

    def rows(
        recalls: dict[str, Recall], direction: str, distractors: str
    ) -> Iterator[dict[str, Any]]:
        for stratum, recall in recalls.items():
            yield {
                "direction": direction,
                "distractors": distractors,
                "stratum": stratum,
                **recall.as_dict(),
            }

    def whole(found: np.ndarray, size: int) -> dict[str, Recall]:
        return {"all": recall_of(found, size, seed)}

    ranks = match_ranks(queries, pool)
    yield from rows(_strata(ranks, len(pool), exam), "forward", "random")
    some = queries[:small]
    yield from rows(whole(match_ranks(some, pool[:small]), small), "forward", "random")
    among = ranks_among(queries, pool, own, exam.distractors)
    hard = exam.distractors.shape[1] + 1
    yield from rows(_strata(among, hard, exam), "forward", "hard")
    back = np.concatenate([queries, others])
    yield from rows(whole(match_ranks(pool[:n], back), len(back)), "reverse", "random")
    small = min(exam.small_pool, len(back))
    yield from rows(
        whole(match_ranks(pool[: min(n, small)], back[:small]), small), "reverse", "random"
    )


def _strata(ranks: np.ndarray, pool: int, exam: Exam) -> dict[str, Recall]:
    """All queries, the faint ones, and those in each interval of magnitude and of size."""
    found = {"all": recall_of(ranks, pool, exam.seed)}
    faint = exam.r_mag >= FAINT_MAG
    if faint.any():
        found["faint"] = recall_of(ranks[faint], pool, exam.seed)
    for name, values, edges in (
        ("r", exam.r_mag, MAGNITUDES),
        ("size/psf", exam.size_over_psf, SIZES_OVER_PSF),
    ):
        strata = by_stratum(ranks, pool, values, edges, exam.seed)
        found |= {f"{name} {interval}": recall for interval, recall in strata.items()}
    return found


def _value_range(images: Tensor) -> float:
    """Return the range of all but a thousandth of the pixels [asinh units]."""
    low, high = np.quantile(images.numpy(), _RANGE_QUANTILES)
    return float(high - low)
