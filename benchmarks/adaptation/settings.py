"""Settings of the adaptation benchmark: skies, targets, methods and variants of the pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmarks.adaptation.faults import FAULTS, Fault
from galaxy_da.surveys import Survey, find_survey, get_survey, load_survey

_TWO_BANDS = ("g", "r")
_INSTRUMENTS = Path(__file__).with_name("instruments")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Frozen):
    """Number of pairs that a method gets.

    Attributes
    ----------
    pairs : int, optional
        Number of pairs, training and validation together; `BenchmarkSettings.most_pairs` by
        default, 0 for unpaired images of different galaxies.
    """

    pairs: int | None = Field(default=None, ge=0)

    @property
    def name(self) -> str:
        """Key in tables: ``all``, ``300 pairs``."""
        return "all" if self.pairs is None else f"{self.pairs} pairs"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A survey to adapt: its definition, and the fault of that definition, if there is one."""

    name: str
    survey: Survey
    fault: Fault | None = None


class BenchmarkSettings(_Frozen):
    """Settings that determine the results.

    Attributes
    ----------
    seeds : tuple of int
        Seeds; each gives one sky and one run of every method.
    targets : tuple of str
        Surveys by name or TOML file; see `benchmark_survey`.
    wrong : tuple of str
        Faults of `benchmarks.adaptation.faults`; each target is then measured with each fault.
    galaxies : int
        Galaxies observed by every survey, for training, validation and test.
    pool : int
        Galaxies searched for the match; anchor images of other galaxies fill it up.
    small_pool : int
        Galaxies in the second, smaller pool.
    methods : tuple of str, optional
        Methods to measure, all by default; the ceiling always is.
    most_pairs : int
        Largest number of pairs.
    fewer_pairs : tuple of int
        Smaller numbers of pairs with which `adapt` is measured too, 0 for unpaired images.
    steps : int, optional
        Largest number of fine-tuning steps; the default of `training.adaptation` if None.
    """

    seeds: tuple[int, ...] = Field(default=(1, 2, 3, 4, 5), min_length=1)
    targets: tuple[str, ...] = Field(
        default=("sdss", "bass-mzls", "hsc", "kids2", "euclid-vis"), min_length=1
    )
    wrong: tuple[str, ...] = ()
    galaxies: int = Field(default=2000, gt=0)
    pool: int = Field(default=10_000, gt=0)
    small_pool: int = Field(default=1000, gt=0)
    methods: tuple[str, ...] | None = None
    most_pairs: int = Field(default=1300, gt=0)
    fewer_pairs: tuple[int, ...] = (0, 300)
    steps: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        unknown = [name for name in self.wrong if name not in FAULTS]
        if unknown:
            raise ValueError(
                f"wrong names {', '.join(unknown)}; faults of definitions are {', '.join(FAULTS)}"
            )
        return self

    @cached_property
    def by_name(self) -> dict[str, Target]:
        """Targets by name: surveys, or with `wrong` surveys with each of the faults."""
        surveys = [benchmark_survey(name) for name in self.targets]
        if not self.wrong:
            return {survey.name: Target(name=survey.name, survey=survey) for survey in surveys}
        named = [(f"{s.name}-{fault}", s, FAULTS[fault]) for s in surveys for fault in self.wrong]
        return {name: Target(name=name, survey=s, fault=fault) for name, s, fault in named}

    def fewer(self) -> tuple[Variant, ...]:
        """Return the variants with fewer pairs, on which `adapt` is always measured."""
        return tuple(Variant(pairs=n) for n in self.fewer_pairs if n < self.galaxies)


def benchmark_survey(name: str) -> Survey:
    """Return a survey by name or TOML file, or one that is defined here alone.

    These are ``kids2``, KiDS in g and r; ``small-telescope``; and ``space-telescope``.

    Raises
    ------
    SurveyError
        If it is none of them.
    """
    own = _INSTRUMENTS / f"{name}.toml"
    if own.is_file():
        return load_survey(own)
    if name != "kids2":
        return find_survey(name)
    kids = get_survey("kids")
    bands = tuple(kids.band(band) for band in _TWO_BANDS)
    return kids.model_copy(
        update={"name": name, "title": f"{kids.title}, g and r alone", "bands": bands}
    )
