"""Settings of the adaptation benchmark: skies, targets, methods and variants of the pairs."""

from __future__ import annotations

from functools import cached_property
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from galaxy_da.surveys import Survey, find_survey, get_survey

__all__ = ["BenchmarkSettings", "Variant", "benchmark_survey"]

_TWO_BANDS = ("g", "r")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Frozen):
    """Number and quality of the pairs that a method gets.

    Attributes
    ----------
    pairs : int, optional
        Number of pairs, training and validation together; all by default, 0 for unpaired images
        of different galaxies.
    wrong : float
        Share of pairs whose target is another galaxy.
    """

    pairs: int | None = Field(default=None, ge=0)
    wrong: float = Field(default=0.0, ge=0, lt=1)

    @property
    def name(self) -> str:
        """Key in tables: ``all``, ``300 pairs``, ``10% wrong``."""
        if self.pairs is not None:
            return f"{self.pairs} pairs"
        return f"{self.wrong:.0%} wrong" if self.wrong else "all"


class BenchmarkSettings(_Frozen):
    """Settings that determine the results.

    Attributes
    ----------
    seeds : tuple of int
        Seeds; each gives one sky and one run of every method.
    targets : tuple of str
        Surveys by name or TOML file; ``kids2`` is KiDS in g and r alone.
    galaxies : int
        Galaxies observed by every survey, for training, validation and test.
    pool : int
        Galaxies searched for the match; anchor images of other galaxies fill it up.
    small_pool : int
        Galaxies in the second, smaller pool.
    methods : tuple of str, optional
        Methods to measure, all by default; the ceiling always is.
    curve_targets : tuple of str
        Targets to measure with fewer and wrong pairs too.
    few_pairs : tuple of int
        Points of the few-pairs curve, 0 for unpaired images; those above `galaxies` are left out.
    wrong_pairs : tuple of float
        Points of the wrong-pairs curve.
    steps : int, optional
        Largest number of fine-tuning steps; the default of `training.adaptation.run` if None.
    """

    seeds: tuple[int, ...] = Field(default=(1, 2, 3, 4, 5), min_length=1)
    targets: tuple[str, ...] = Field(
        default=("sdss", "bass-mzls", "hsc", "kids2", "euclid-vis"), min_length=1
    )
    galaxies: int = Field(default=2000, gt=0)
    pool: int = Field(default=10_000, gt=0)
    small_pool: int = Field(default=1000, gt=0)
    methods: tuple[str, ...] | None = None
    curve_targets: tuple[str, ...] = ()
    few_pairs: tuple[int, ...] = (0, 30, 100, 300, 1000, 10_000)
    wrong_pairs: tuple[float, ...] = (0.02, 0.1, 0.3)
    steps: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _curves_of_targets(self) -> Self:
        unknown = [name for name in self.curve_targets if name not in self.surveys]
        if unknown:
            raise ValueError(
                f"curve_targets names {', '.join(unknown)}; targets are {', '.join(self.surveys)}"
            )
        return self

    @cached_property
    def surveys(self) -> dict[str, Survey]:
        """Definition of each target, by survey name."""
        surveys = map(benchmark_survey, self.targets)
        return {survey.name: survey for survey in surveys}

    def variants(self, target: str) -> tuple[Variant, ...]:
        """Return the variants of a target: all pairs, then the points of its curves."""
        curves: list[Variant] = []
        if target in self.curve_targets:
            curves += [Variant(pairs=n) for n in self.few_pairs if n < self.galaxies]
            curves += [Variant(wrong=share) for share in self.wrong_pairs if share]
        return (Variant(), *curves)


def benchmark_survey(name: str) -> Survey:
    """Return a survey by name or TOML file, or ``kids2``: KiDS in g and r alone.

    Raises
    ------
    SurveyError
        If it is neither.
    """
    if name != "kids2":
        return find_survey(name)
    kids = get_survey("kids")
    bands = tuple(kids.band(band) for band in _TWO_BANDS)
    return kids.model_copy(
        update={"name": name, "title": f"{kids.title}, g and r alone", "bands": bands}
    )
