"""Stream a simulated sky: the same galaxies observed by any set of surveys, with the truth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import count
from zlib import crc32

import numpy as np
import pyarrow as pa
from torch import Tensor

from catalogs.simulation.conditions import Conditions, draw_conditions, frame_bands
from catalogs.simulation.distributions import MAGNITUDES
from catalogs.simulation.galaxies import draw_galaxies
from catalogs.simulation.observing import frequencies_for, observe
from catalogs.simulation.patches import Sky
from catalogs.simulation.scenes import MAX_SCENES, ScenePool
from galaxy_da.io.storage import Location
from galaxy_da.surveys import Band, Survey

CHUNK = 32  # galaxies drawn at a time; a change of it changes the sky of every seed


@dataclass(frozen=True, kw_only=True)
class SkySettings:
    """Settings of a simulated sky.

    `repeat_anchor` adds ``NAME-repeat``, a second observation by the first survey, with independent
    PSF, noise and position. `rotated` adds ``NAME-rotated`` to every observation but the first,
    with the camera at a random angle and half the cutouts mirrored.
    """

    seed: int = 1  # of the galaxies and observations, not negative
    scenes: ScenePool | Location | None = None  # real galaxies, or a sample table of their images
    repeat_anchor: bool = True
    rotated: bool = False
    every_band: bool = False  # else only the bands nearest to the frame's g, r and z
    magnitudes: tuple[float, float] = MAGNITUDES  # range of r, the brightest first [AB mag]

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more but is {self.seed}")
        brightest, faintest = self.magnitudes
        if not brightest < faintest:
            raise ValueError(
                f"magnitudes must rise, the brightest first, but are {brightest:g} and {faintest:g}"
            )


@dataclass(frozen=True)
class Observation:
    """One survey's cutouts of a chunk."""

    survey: Survey
    bands: tuple[Band, ...]
    flux: Tensor  # (n, bands, y, x) float32, in the survey's unit per pixel


@dataclass(frozen=True)
class SkyChunk:
    """Some galaxies of a simulated sky.

    `truth` has the columns of `Galaxies` or `DrawnScenes`. Observations are named by their survey,
    ``NAME-repeat`` or ``NAME-rotated``.
    """

    first: int  # number of the first galaxy in the sky
    truth: pa.Table
    conditions: dict[str, Conditions]  # of each cutout, by observation
    observe: Callable[[Collection[str]], dict[str, Observation]]  # renders those named

    @cached_property
    def observations(self) -> dict[str, Observation]:
        """All observations by name, rendered at the first access."""
        return self.observe(self.conditions)


@dataclass(frozen=True)
class Observer:
    """A survey's bands, and its camera: upright or rotated."""

    survey: Survey
    bands: tuple[Band, ...]
    rotated: bool = False

    def conditions(self, rng: np.random.Generator) -> Conditions:
        """Draw the conditions of a chunk."""
        upright = draw_conditions(CHUNK, self.bands, rng)
        return upright.rotated(rng) if self.rotated else upright


def sky_chunks(
    surveys: Sequence[Survey], settings: SkySettings | None = None, n: int | None = None
) -> Iterator[SkyChunk]:
    """Stream a simulated sky.

    Galaxy i of a seed is the same for any n and any surveys, and a survey's noise does not depend
    on the others. The first survey is the anchor. `n` is the number of galaxies; without it, the
    sky is endless.
    """
    settings = settings or SkySettings()
    observers = observers_of(surveys, settings)
    frequencies = frequencies_for([band for each in observers.values() for band in each.bands])
    pool = settings.scenes
    if pool is not None and not isinstance(pool, ScenePool):
        pool = ScenePool.open(pool, limit=MAX_SCENES if n is None else max(4 * CHUNK, 2 * n))
    draw = draw_galaxies if pool is None else pool.draw
    for number in count() if n is None else range(-(-n // CHUNK)):
        first = number * CHUNK
        rows = CHUNK if n is None else min(CHUNK, n - first)
        drawn = draw(CHUNK, np.random.default_rng([settings.seed, number]), settings.magnitudes)
        rngs = {
            name: np.random.default_rng([settings.seed, number, name_seed(name)])
            for name in observers
        }
        states = {name: observer.conditions(rngs[name]) for name, observer in observers.items()}
        yield SkyChunk(
            first,
            drawn.truth.slice(0, rows),
            {name: state[:rows] for name, state in states.items()},
            partial(_observe, observers, partial(drawn.render, frequencies), states, rngs, rows),
        )


def observers_of(surveys: Sequence[Survey], settings: SkySettings) -> dict[str, Observer]:
    """Return the observers of a sky by the names of their observations, the anchor first."""
    if not surveys:
        raise ValueError("surveys must name at least one survey")
    names = [survey.name for survey in surveys]
    if len(set(names)) < len(names):
        raise ValueError(f"surveys must have different names but are {', '.join(names)}")
    observers = {
        survey.name: Observer(survey, frame_bands(survey, every=settings.every_band))
        for survey in surveys
    }
    anchor = names[0]
    if settings.repeat_anchor:
        observers[f"{anchor}-repeat"] = observers[anchor]
    if settings.rotated:
        observers |= {
            f"{name}-rotated": replace(observer, rotated=True)
            for name, observer in observers.items()
            if name != anchor
        }
    return observers


def name_seed(name: str) -> int:
    """Return the part of a random seed that belongs to a name."""
    return crc32(name.encode())


def _observe(
    observers: dict[str, Observer],
    render: Callable[[], Sky],
    conditions: dict[str, Conditions],
    rngs: dict[str, np.random.Generator],
    rows: int,
    names: Collection[str],
) -> dict[str, Observation]:
    sky = render()
    observations = {}
    for name in names:
        observer = observers[name]
        flux = observe(sky, observer.survey, observer.bands, conditions[name], rngs[name])
        observations[name] = Observation(observer.survey, observer.bands, flux[:rows])
    return observations
