"""Verbs that clients may start as jobs: their options, their files and their command lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from galaxy_da.service.limits import Limits
from galaxy_da.surveys import builtin_surveys


class Plan(NamedTuple):
    """Command lines of a job, in order, and the folders to pack, each by the name of its zip."""

    steps: list[list[str]]
    packed: dict[str, Path]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Extract(_Strict):
    """Options of ``extract``, its required samples and its optional files."""

    samples: ClassVar = ("sample",)
    optional: ClassVar = ("survey",)

    reconstruct: bool = True

    def plan(self, space: str, files: Mapping[str, Path], work: Path, results: Path) -> Plan:
        """Plan the job from its files by name, a folder to work in, and one for results."""
        features, sample = work / "features", str(files["sample"])
        step = ["extract", "--space", space, "--sample", sample, "--out", str(features)]
        step += [] if self.reconstruct else ["--no-reconstruct"]
        step += ["--survey-file", str(files["survey"])] if "survey" in files else []
        export = ["export", str(features), "--out", str(results / "features.parquet")]
        return Plan([step, export], {"features.zip": features})


class Adapt(_Strict):
    """Options of ``adapt``, its required samples and its optional files."""

    samples: ClassVar = ("anchor", "target")
    optional: ClassVar = ("pairs", "survey")

    seed: int = Field(default=0, ge=0, lt=2**31)
    survey: str | None = Field(default=None, pattern=f"^({'|'.join(builtin_surveys())})$")

    def plan(self, space: str, files: Mapping[str, Path], work: Path, results: Path) -> Plan:
        """Plan the job from its files by name, a folder to work in, and one for results."""
        adapted = work / "space"
        step = ["adapt", "--space", space, "--out", str(adapted), "--seed", str(self.seed)]
        step += ["--anchor", str(files["anchor"]), "--target", str(files["target"])]
        step += ["--pairs", str(files["pairs"])] if "pairs" in files else []
        survey = str(files["survey"]) if "survey" in files else self.survey
        step += ["--survey", survey] if survey is not None else []
        return Plan([step], {"space.zip": adapted})


VERBS: dict[str, type[Extract | Adapt]] = {"extract": Extract, "adapt": Adapt}


class JobRequest(_Strict):
    """A verb, its options, the space's name or path, and the limits of the job."""

    verb: str
    options: dict[str, Any]
    space: str
    limits: Limits
