"""Data of one target on one sky, shared by all methods measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.adaptation.measure import HeldOutGalaxies
from benchmarks.adaptation.methods import CEILING, FittedMethod, TrainingSet, fit_method
from benchmarks.adaptation.settings import BenchmarkSettings, Variant
from benchmarks.adaptation.sky import BenchmarkSky
from catalogs.simulation.scenes import ScenePool
from evaluation.transfer import MorphologyClassifier
from galaxy_da.errors import TableError
from galaxy_da.images.preparation import pick_bands
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey

__all__ = ["TargetData", "load_target_data"]

_FEWEST_TESTED = 20


@dataclass(frozen=True)
class TargetData:
    """Data of one target on one sky.

    Attributes
    ----------
    space : LatentSpace
    survey : Survey
        Definition of the target.
    sky : BenchmarkSky
    settings : BenchmarkSettings
    """

    space: LatentSpace
    survey: Survey
    sky: BenchmarkSky
    settings: BenchmarkSettings

    @cached_property
    def encoder(self) -> SurveyEncoder:
        """The target's un-adapted encoder."""
        return self.space.unadapted(self.survey, self.sky.bands(self.survey), every_band=True)

    @property
    def observations(self) -> dict[str, str]:
        """Sample name of each observation by the target."""
        return {"aligned": self.survey.name, "rotated": f"{self.survey.name}-rotated"}

    @property
    def repeats(self) -> dict[str, str]:
        """Sample name of each repeated observation by the anchor."""
        anchor = self.sky.anchor.name
        return {"aligned": f"{anchor}-repeat", "rotated": f"{anchor}-repeat-rotated"}

    def rows(self, part: str) -> np.ndarray:
        """Galaxies of a part of the sky with good images in all observations needed there."""
        names = [self.sky.anchor.name, self.survey.name]
        if part == "test":
            names = [self.sky.anchor.name, *self.observations.values(), *self.repeats.values()]
        good = np.all([self.sky.usable(name) for name in names], axis=0)
        return np.flatnonzero((self.sky.part == part) & good)

    @cached_property
    def test_galaxies(self) -> np.ndarray:
        """Galaxies of the test part."""
        return self.rows("test")

    @cached_property
    def training_galaxies(self) -> np.ndarray:
        """Galaxies outside the test part."""
        return np.sort(np.concatenate([self.rows("train"), self.rows("validation")]))

    @cached_property
    def fillers(self) -> np.ndarray:
        """Fillers that bring the pool to its size."""
        good = np.flatnonzero(self.sky.usable("fillers")) if self.sky.fillers else np.zeros(0, int)
        return good[: max(self.settings.pool - len(self.test_galaxies), 0)]

    @cached_property
    def held_out(self) -> HeldOutGalaxies:
        """True properties of the galaxies to measure on."""
        truth = self.sky.truth.take(self.test_galaxies)
        others = self.sky.filler_truth.take(self.fillers)
        properties = [
            np.concatenate([table[name].to_numpy() for table in (truth, others)])
            for name in ("r_mag", "half_light_arcsec", "g_minus_r")
        ]
        properties[1] = np.log10(properties[1])
        psf = self.sky.psf_fwhm_arcsec(self.survey.name)[self.test_galaxies]
        return HeldOutGalaxies(
            properties=np.stack(properties, axis=1),
            ra=truth["ra"].to_numpy(),
            dec=truth["dec"].to_numpy(),
            size_over_psf=truth["half_light_arcsec"].to_numpy() / psf,
            labels=None if self.labels is None else self.labels[self.test_galaxies],
            small_pool=self.settings.small_pool,
            seed=self.sky.seed,
        )

    @cached_property
    def pool_images(self) -> Tensor:
        """Anchor images of test galaxies and fillers."""
        own = self.sky.images(self.sky.anchor.name, self.test_galaxies)
        if not len(self.fillers):
            return own
        return torch.cat([own, self.sky.images("fillers", self.fillers)])

    def anchor_images(self, part: str) -> Tensor:
        """Return anchor images of the galaxies of a part."""
        return self.sky.images(self.sky.anchor.name, self.rows(part))

    def in_frame_bands(self, images: Tensor) -> Tensor:
        """Return the target planes nearest to the frame's bands."""
        bands = self.encoder.bands
        nearest = pick_bands(self.survey, bands, self.space.frame)
        return images[:, [bands.index(name) for name in nearest]]

    @cached_property
    def labels(self) -> np.ndarray | None:
        """Morphology of every galaxy; real scenes have none."""
        if "label" not in self.sky.truth.column_names:
            return None
        return np.asarray(self.sky.truth["label"])

    @cached_property
    def anchor_latents(self) -> tuple[np.ndarray, MorphologyClassifier | None]:
        """Result of `pool_latents` for the space's own anchor, shared by most methods."""
        return self.pool_latents(fit_method(CEILING, self.training_set(Variant())))

    def pool_latents(self, fitted: FittedMethod) -> tuple[np.ndarray, MorphologyClassifier | None]:
        """Return latents of the pool, and a classifier trained on the training galaxies."""
        pool = fitted.anchor(self.pool_images).numpy()
        if self.labels is None:
            return pool, None
        rows = self.rows("train")
        known = fitted.anchor(self.anchor_images("train"))[:, fitted.compared["rotated"]].numpy()
        return pool, MorphologyClassifier(known, self.labels[rows], self.sky.seed)

    def training_set(self, variant: Variant) -> TrainingSet:
        """Return the training set of a variant."""
        training_galaxies, rng = self.training_galaxies, np.random.default_rng(self.sky.seed)
        here = there = np.arange(len(training_galaxies))
        pairs = np.stack([here, there], axis=1)
        if variant.pairs == 0:  # no galaxy is in both samples
            here, there = np.array_split(rng.permutation(len(training_galaxies)), 2)
            pairs = pairs[:0]
        elif variant.pairs is not None:
            chosen = rng.permutation(len(training_galaxies))[: variant.pairs]
            pairs = pairs[np.sort(chosen)]
        if variant.wrong:
            spoiled = rng.permutation(len(pairs))[: max(2, round(variant.wrong * len(pairs)))]
            pairs[spoiled, 1] = pairs[np.roll(spoiled, 1), 1]
        radec = np.stack(
            [self.sky.truth[name].to_numpy()[training_galaxies] for name in ("ra", "dec")], 1
        )
        return TrainingSet(
            space=self.space,
            encoder=self.encoder,
            anchor=self.sky.images(self.sky.anchor.name, training_galaxies[here]),
            target=self.sky.images(self.survey.name, training_galaxies[there]),
            anchor_radec=radec[here],
            target_radec=radec[there],
            pairs=pairs,
            seed=self.sky.seed,
            steps=self.settings.steps,
        )


def load_target_data(
    space: LatentSpace,
    settings: BenchmarkSettings,
    out: Path,
    seed: int,
    target: str,
    scenes: ScenePool | None,
) -> TargetData:
    """Load a target's data on one sky; simulate it first if needed.

    Parameters
    ----------
    space, settings, out, scenes
        As for `run_benchmark`.
    seed, target : int, str
        One of the seeds and targets of the settings.

    Raises
    ------
    TableError
        If there are too few test galaxies.
    """
    survey = settings.surveys[target]
    sky = BenchmarkSky(
        out / f"sky-{seed}",
        space.survey(space.anchor),
        space.frame,
        settings.galaxies,
        max(settings.pool - settings.galaxies // 5, 0),
        seed,
        scenes,
    )
    sky.observe([survey])
    target_data = TargetData(space, survey, sky, settings)
    if len(target_data.test_galaxies) < _FEWEST_TESTED:
        raise TableError(
            f"only {len(target_data.test_galaxies)} of {settings.galaxies} galaxies are in the "
            f"test part, at least {_FEWEST_TESTED} are needed; ask for more galaxies"
        )
    return target_data
