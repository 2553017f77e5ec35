"""Measure every method by one function, from its latents alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from astropy import units as u
from astropy_healpix import lonlat_to_healpix

from evaluation.distractors import (
    HARD_POOL,
    distance_contrast,
    matched_distractors,
    ranks_among,
)
from evaluation.domains import domain_auc
from evaluation.retrieval import Recall, match_ranks, recall_of
from evaluation.strata import MAGNITUDES, SIZES_OVER_PSF, by_stratum
from evaluation.transfer import MorphologyClassifier

_CELL_NSIDE = 64
_COMPARED = {"aligned": "all", "rotated": "galaxy"}
_FAINT_MAG = 20.0  # in r


@dataclass(frozen=True, kw_only=True)
class HeldOutGalaxies:
    """Test galaxies of one target on one sky, with their true properties.

    Attributes
    ----------
    properties : (m, 3) float array
        r magnitude, log10 of half-light radius and g-r of the n test galaxies, then the fillers.
    ra, dec : (n,) float arrays [ICRS deg]
    size_over_psf : (n,) float array
        Half-light radius over the target's PSF FWHM.
    labels : (n,) array, optional
        Morphology of the test galaxies.
    small_pool : int
        Galaxies in the smaller pool.
    seed : int
        Seed of bootstraps and random pairs.
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
        """(n, 99) pool rows most like each test galaxy."""
        most = min(HARD_POOL, len(self.properties)) - 1
        return matched_distractors(self.properties, np.arange(len(self.ra)), most)

    @cached_property
    def sky_cells(self) -> np.ndarray:
        """(n,) HEALPix cell of each test galaxy."""
        return np.asarray(lonlat_to_healpix(self.ra * u.deg, self.dec * u.deg, _CELL_NSIDE))


@dataclass(frozen=True, kw_only=True)
class Latents:
    """Latents of held-out galaxies by one method.

    Attributes
    ----------
    pool : (m, d) float array
        Anchor latents of test galaxies and fillers.
    observations : dict of str to (n, d) float array
        Target latents of the test galaxies, ``aligned`` and ``rotated``.
    others : (p, d) float array
        Target latents of other galaxies, which fill the pool of the reverse direction.
    compared : dict of str to slice
        Latents to compare: ``all``, and ``galaxy``.
    """

    pool: np.ndarray
    observations: dict[str, np.ndarray]
    others: np.ndarray
    compared: Mapping[str, slice]

    def of(self, observation: str, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``all`` or ``galaxy`` latents of an observation: queries, pool and others."""
        some = self.compared[kind]
        return self.observations[observation][:, some], self.pool[:, some], self.others[:, some]


def measure(
    latents: Latents, held_out: HeldOutGalaxies, classifier: MorphologyClassifier | None = None
) -> dict[str, Any]:
    """Measure retrieval, distances, domain separation and morphology transfer.

    Parameters
    ----------
    latents : Latents
        Latents of one method.
    held_out : HeldOutGalaxies
        The same galaxies' properties.
    classifier : MorphologyClassifier, optional
        Classifier trained on anchor latents; needed where there are labels.

    Returns
    -------
    dict
        ``retrieval``: rows with ``observation`` (aligned, rotated), ``latents`` (all, galaxy),
        ``direction`` (forward: a target image searched among anchor images; reverse),
        ``distractors`` (random, hard), ``stratum`` and the fields of
        `evaluation.retrieval.Recall`. All latents are compared where both images have north up,
        and galaxy latents where one is rotated; the other latents only over the whole pool.
        ``distances`` by observation.
        ``domains`` and, where there are labels, ``transfer`` (by observation and ``in_domain``) of
        the galaxy latents.
    """
    n = len(held_out.ra)
    galaxy = latents.compared["galaxy"]
    known, observations = (
        latents.pool[:n, galaxy],
        {observation: some[:, galaxy] for observation, some in latents.observations.items()},
    )
    compared = {
        observation: latents.of(observation, _COMPARED[observation])
        for observation in latents.observations
    }
    result: dict[str, Any] = {
        "retrieval": [
            {"observation": observation, "latents": _COMPARED[observation], **row}
            for observation, parts in compared.items()
            for row in _retrieval(*parts, held_out)
        ]
        + [
            {"observation": observation, "latents": kind, **row}
            for observation in compared
            for kind in latents.compared
            if kind != _COMPARED[observation]
            for row in _whole_pool(*latents.of(observation, kind)[:2], held_out.seed)
        ],
        "distances": {
            observation: distance_contrast(
                queries, pool, np.arange(n), held_out.distractors, held_out.seed
            )
            for observation, (queries, pool, _) in compared.items()
        },
        "domains": domain_auc(known, observations["aligned"], held_out.sky_cells, held_out.seed),
    }
    if held_out.labels is not None and classifier is not None:
        result["transfer"] = {
            name: classifier.score(latents_of, held_out.labels)
            for name, latents_of in {"in_domain": known, **observations}.items()
        }
    return result


def _whole_pool(queries: np.ndarray, pool: np.ndarray, seed: int) -> Iterator[dict[str, Any]]:
    recall = recall_of(match_ranks(queries, pool), len(pool), seed)
    where = {"direction": "forward", "distractors": "random", "stratum": "all"}
    yield {**where, **recall.as_dict()}


def _retrieval(
    queries: np.ndarray, pool: np.ndarray, others: np.ndarray, held_out: HeldOutGalaxies
) -> Iterator[dict[str, Any]]:
    n, seed = len(queries), held_out.seed
    own, small = np.arange(n), min(held_out.small_pool, len(pool))

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
    yield from rows(_strata(ranks, len(pool), held_out), "forward", "random")
    some = queries[:small]
    yield from rows(whole(match_ranks(some, pool[:small]), small), "forward", "random")
    among = ranks_among(queries, pool, own, held_out.distractors)
    hard = held_out.distractors.shape[1] + 1
    yield from rows(_strata(among, hard, held_out), "forward", "hard")
    back = np.concatenate([queries, others])
    yield from rows(whole(match_ranks(pool[:n], back), len(back)), "reverse", "random")
    small = min(held_out.small_pool, len(back))
    yield from rows(
        whole(match_ranks(pool[: min(n, small)], back[:small]), small), "reverse", "random"
    )


def _strata(ranks: np.ndarray, pool: int, held_out: HeldOutGalaxies) -> dict[str, Recall]:
    """Recall of all queries, of faint ones, and by interval of magnitude and of size."""
    found = {"all": recall_of(ranks, pool, held_out.seed)}
    faint = held_out.r_mag >= _FAINT_MAG
    if faint.any():
        found["faint"] = recall_of(ranks[faint], pool, held_out.seed)
    for name, values, edges in (
        ("r", held_out.r_mag, MAGNITUDES),
        ("size/psf", held_out.size_over_psf, SIZES_OVER_PSF),
    ):
        strata = by_stratum(ranks, pool, values, edges, held_out.seed)
        found |= {f"{name} {interval}": recall for interval, recall in strata.items()}
    return found
