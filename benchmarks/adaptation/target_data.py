"""One target on one sky, prepared for every method that is measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.adaptation.measure import Exam
from benchmarks.adaptation.methods import CEILING, Learned, Lesson, learn
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
    """One target on one sky, with what its cells share.

    Attributes
    ----------
    space : LatentSpace
    survey : Survey
        The target's.
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
        """Sample of each look of the target."""
        return {"aligned": self.survey.name, "rotated": f"{self.survey.name}-rotated"}

    @property
    def repeats(self) -> dict[str, str]:
        """Sample of each further look of the anchor."""
        anchor = self.sky.anchor.name
        return {"aligned": f"{anchor}-repeat", "rotated": f"{anchor}-repeat-rotated"}

    def rows(self, part: str) -> np.ndarray:
        """Galaxies of a part with good images: in the test part, in every look."""
        names = [self.sky.anchor.name, self.survey.name]
        if part == "test":
            names = [self.sky.anchor.name, *self.observations.values(), *self.repeats.values()]
        good = np.all([self.sky.usable(name) for name in names], axis=0)
        return np.flatnonzero((self.sky.part == part) & good)

    @cached_property
    def tested(self) -> np.ndarray:
        """Galaxies of the test part."""
        return self.rows("test")

    @cached_property
    def taught(self) -> np.ndarray:
        """Galaxies outside the test part."""
        return np.sort(np.concatenate([self.rows("train"), self.rows("validation")]))

    @cached_property
    def fillers(self) -> np.ndarray:
        """Fillers that make the pool as large as it should be."""
        good = np.flatnonzero(self.sky.usable("fillers")) if self.sky.fillers else np.zeros(0, int)
        return good[: max(self.settings.pool - len(self.tested), 0)]

    @cached_property
    def exam(self) -> Exam:
        """What methods are measured on."""
        truth = self.sky.truth.take(self.tested)
        others = self.sky.filler_truth.take(self.fillers)
        properties = [
            np.concatenate([table[name].to_numpy() for table in (truth, others)])
            for name in ("r_mag", "half_light_arcsec", "g_minus_r")
        ]
        properties[1] = np.log10(properties[1])
        psf = self.sky.psf_fwhm_arcsec(self.survey.name)[self.tested]
        return Exam(
            properties=np.stack(properties, axis=1),
            ra=truth["ra"].to_numpy(),
            dec=truth["dec"].to_numpy(),
            size_over_psf=truth["half_light_arcsec"].to_numpy() / psf,
            labels=None if self.labels is None else self.labels[self.tested],
            small_pool=self.settings.small_pool,
            seed=self.sky.seed,
        )

    @cached_property
    def pool_images(self) -> Tensor:
        """The anchor's images of test galaxies and fillers."""
        own = self.sky.images(self.sky.anchor.name, self.tested)
        if not len(self.fillers):
            return own
        return torch.cat([own, self.sky.images("fillers", self.fillers)])

    def anchor_images(self, part: str) -> Tensor:
        """Return the anchor's images of a part's galaxies."""
        return self.sky.images(self.sky.anchor.name, self.rows(part))

    def in_frame_bands(self, images: Tensor) -> Tensor:
        """Return of a target's planes those that stand for the frame's bands."""
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
    def frozen(self) -> tuple[np.ndarray, MorphologyClassifier | None]:
        """What `of_anchor` gives for the space's own anchor, which most methods share."""
        return self.of_anchor(learn(CEILING, self.lesson(Variant())))

    def of_anchor(self, learned: Learned) -> tuple[np.ndarray, MorphologyClassifier | None]:
        """Latents of the pool, and a classifier of the training galaxies' latents."""
        pool = learned.anchor(self.pool_images).numpy()
        if self.labels is None:
            return pool, None
        rows = self.rows("train")
        known = learned.anchor(self.anchor_images("train"))[:, learned.compared["rotated"]].numpy()
        return pool, MorphologyClassifier(known, self.labels[rows], self.sky.seed)

    def lesson(self, variant: Variant) -> Lesson:
        """Return what a variant lets a method learn from."""
        taught, rng = self.taught, np.random.default_rng(self.sky.seed)
        here = there = np.arange(len(taught))
        pairs = np.stack([here, there], axis=1)
        if variant.pairs == 0:  # no galaxy is in both samples
            here, there = np.array_split(rng.permutation(len(taught)), 2)
            pairs = pairs[:0]
        elif variant.pairs is not None:
            chosen = rng.permutation(len(taught))[: variant.pairs]
            pairs = pairs[np.sort(chosen)]
        if variant.wrong:
            spoiled = rng.permutation(len(pairs))[: max(2, round(variant.wrong * len(pairs)))]
            pairs[spoiled, 1] = pairs[np.roll(spoiled, 1), 1]
        radec = np.stack([self.sky.truth[name].to_numpy()[taught] for name in ("ra", "dec")], 1)
        return Lesson(
            space=self.space,
            encoder=self.encoder,
            anchor=self.sky.images(self.sky.anchor.name, taught[here]),
            target=self.sky.images(self.survey.name, taught[there]),
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
    """Observe a target's sky where that is not done, and say what can be measured on it.

    Parameters
    ----------
    space, settings, out, scenes
        As for `run_benchmark`.
    seed, target : int, str
        Which of them.

    Raises
    ------
    TableError
        If too few galaxies can be tested on.
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
    if len(target_data.tested) < _FEWEST_TESTED:
        raise TableError(
            f"only {len(target_data.tested)} of {settings.galaxies} galaxies can be tested on, at "
            f"least {_FEWEST_TESTED} are needed; ask for more galaxies"
        )
    return target_data
