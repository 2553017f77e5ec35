"""Data of one target on one sky, shared by all methods measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.adaptation.measure import HeldOutGalaxies
from benchmarks.adaptation.methods import CEILING, FittedMethod, Observed, TrainingSet, fit_method
from benchmarks.adaptation.settings import BenchmarkSettings, Target, Variant
from benchmarks.adaptation.sky import BenchmarkSky
from catalogs.simulation.conditions import frame_bands
from catalogs.simulation.scenes import ScenePool
from evaluation.transfer import MorphologyClassifier
from galaxy_da.errors import TableError
from galaxy_da.images.inputs import Inputs
from galaxy_da.space import LatentSpace, SurveyEncoder

_FEWEST_TESTED = 20


@dataclass(frozen=True)
class TargetData:
    """Data of one target on one sky.

    Attributes
    ----------
    space : LatentSpace
    target : Target
        Survey, and the fault of its definition.
    sky : BenchmarkSky
    settings : BenchmarkSettings
    """

    space: LatentSpace
    target: Target
    sky: BenchmarkSky
    settings: BenchmarkSettings

    @cached_property
    def encoder(self) -> SurveyEncoder:
        """The target's encoder by definition."""
        survey, fault = self.target.survey, self.target.fault
        bands = tuple(band.name for band in frame_bands(survey))
        return self.space.by_definition(survey, fault.bands(survey, bands) if fault else bands)

    @property
    def right_encoder(self) -> SurveyEncoder:
        """The encoder by the definition that is true."""
        survey, fault = self.target.survey, self.target.fault
        bands = [band.name for band in frame_bands(survey)]
        return self.space.by_definition(fault.truth(survey) if fault else survey, bands)

    @property
    def observations(self) -> dict[str, str]:
        """Sample name of each observation by the target."""
        return {"aligned": self.target.name, "rotated": f"{self.target.name}-rotated"}

    @property
    def described(self) -> dict[str, str]:
        """Sample name of each observation without the fault of the definition."""
        return {kind: name.replace(self.target.name, f"{self.target.name}-right", 1)
                for kind, name in self.observations.items()}  # fmt: skip

    @property
    def repeats(self) -> dict[str, str]:
        """Sample name of each repeated observation by the anchor."""
        anchor = self.sky.anchor.name
        return {"aligned": f"{anchor}-repeat", "rotated": f"{anchor}-repeat-rotated"}

    def rows(self, part: str) -> np.ndarray:
        """Galaxies of a part of the sky with good images in all observations needed there."""
        names = [self.sky.anchor.name, self.target.name]
        if part == "test":
            names = [self.sky.anchor.name, *self.observations.values(), *self.repeats.values()]
            names += self.described.values() if self.target.fault else ()
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
        psf = self.sky.psf_fwhm_arcsec(self.target.name)[self.test_galaxies]
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
    def pool_inputs(self) -> Inputs:
        """Anchor images of test galaxies and fillers."""
        own = self.sky.inputs(self.sky.anchor.name, self.test_galaxies)
        if not len(self.fillers):
            return own
        return Inputs.join([own, self.sky.inputs("fillers", self.fillers)])

    def anchor_inputs(self, part: str) -> Inputs:
        """Return anchor images of the galaxies of a part."""
        return self.sky.inputs(self.sky.anchor.name, self.rows(part))

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
        pool = fitted.anchor(self.pool_inputs).numpy()
        if self.labels is None:
            return pool, None
        rows = self.rows("train")
        known = fitted.anchor(self.anchor_inputs("train"))[:, fitted.compared["galaxy"]].numpy()
        return pool, MorphologyClassifier(known, self.labels[rows], self.sky.seed)

    def training_set(self, variant: Variant) -> TrainingSet:
        """Return the training set of a variant."""
        training_galaxies, rng = self.training_galaxies, np.random.default_rng(self.sky.seed)
        here = there = np.arange(len(training_galaxies))
        pairs = np.stack([here, there], axis=1)
        if variant.pairs == 0:  # no galaxy is in both samples
            here, there = np.array_split(rng.permutation(len(training_galaxies)), 2)
            pairs = pairs[:0]
        else:
            most = self.settings.most_pairs if variant.pairs is None else variant.pairs
            pairs = pairs[np.sort(rng.permutation(len(training_galaxies))[:most])]
        sides = ((self.sky.anchor.name, here), (self.target.name, there))
        anchor, target = (
            Observed(
                inputs=self.sky.inputs(name, training_galaxies[rows]),
                sample=self.sky.sample(name, training_galaxies[rows]),
            )
            for name, rows in sides
        )
        return TrainingSet(
            space=self.space,
            encoder=self.encoder,
            anchor=anchor,
            target=target,
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
    sky = BenchmarkSky(
        out / f"sky-{seed}",
        space.survey(space.anchor),
        space.frame,
        settings.galaxies,
        max(settings.pool - settings.galaxies // 5, 0),
        seed,
        scenes,
    )
    sky.observe([settings.by_name[target]])
    target_data = TargetData(space, settings.by_name[target], sky, settings)
    if len(target_data.test_galaxies) < _FEWEST_TESTED:
        raise TableError(
            f"only {len(target_data.test_galaxies)} of {settings.galaxies} galaxies are in the "
            f"test part, at least {_FEWEST_TESTED} are needed; ask for more galaxies"
        )
    return target_data
