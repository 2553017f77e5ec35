"""Verbs that clients may start as jobs: their options, their files and their command lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from galaxy_da.service.limits import Limits
from galaxy_da.surveys import builtin_surveys

__all__ = ["VERBS", "JobRequest", "Plan", "Verb"]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExtractOptions(_Options):
    """Options of ``extract``."""

    unadapted: bool = False
    reconstruct: bool = True


class AdaptOptions(_Options):
    """Options of ``adapt``."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    survey: str | None = Field(default=None, pattern=f"^({'|'.join(builtin_surveys())})$")


class JobRequest(_Options):
    """A verb, its options, the space's name or path, and the limits of the job."""

    verb: str
    options: dict[str, Any]
    space: str
    limits: Limits


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Command lines of a job, and the results to pack.

    Attributes
    ----------
    steps : list of list of str
        Command lines of ``galaxy-da``, in order.
    packed : dict of str to Path
        Name of a zip file, and the folder to pack into it.
    """

    steps: list[list[str]]
    packed: dict[str, Path]


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb.

    Attributes
    ----------
    options : type
        Model of its options.
    samples, optional : tuple of str
        Form fields of the required sample tables, and of the optional files.
    plan : callable
        Function of the space, the files by name, the work folder, the results folder and the
        options; returns a `Plan`.
    """

    options: type[BaseModel]
    samples: tuple[str, ...]
    optional: tuple[str, ...]
    plan: Callable[[str, Mapping[str, Path], Path, Path, Any], Plan]


def _extract(
    space: str, files: Mapping[str, Path], work: Path, results: Path, options: ExtractOptions
) -> Plan:
    features = work / "features"
    step = ["extract", "--space", space, "--sample", str(files["sample"]), "--out", str(features)]
    step += ["--unadapted"] if options.unadapted else []
    step += [] if options.reconstruct else ["--no-reconstruct"]
    step += ["--survey-file", str(files["survey"])] if "survey" in files else []
    export = ["export", str(features), "--out", str(results / "features.parquet")]
    return Plan(steps=[step, export], packed={"features.zip": features})


def _adapt(
    space: str, files: Mapping[str, Path], work: Path, results: Path, options: AdaptOptions
) -> Plan:
    adapted = work / "space"
    step = ["adapt", "--space", space, "--out", str(adapted), "--seed", str(options.seed)]
    step += ["--anchor", str(files["anchor"]), "--target", str(files["target"])]
    step += ["--pairs", str(files["pairs"])] if "pairs" in files else []
    survey = str(files["survey"]) if "survey" in files else options.survey
    step += ["--survey", survey] if survey is not None else []
    return Plan(steps=[step], packed={"space.zip": adapted})


VERBS: dict[str, Verb] = {
    "extract": Verb(
        options=ExtractOptions, samples=("sample",), optional=("survey",), plan=_extract
    ),
    "adapt": Verb(
        options=AdaptOptions,
        samples=("anchor", "target"),
        optional=("pairs", "survey"),
        plan=_adapt,
    ),
}
"""Verbs by name."""
