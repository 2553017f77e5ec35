"""Fit every way of adapting by one call, so that one function can measure them all.

All methods get the same pairs. SIDDA alone also changes the anchor's network, so every fitted
method carries a map for the anchor too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from benchmarks.baselines import AdaptationData, Baseline, PixelPCA, Sidda, all_baselines
from galaxy_da.errors import CatalogError
from galaxy_da.images.inputs import Inputs
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import write_table
from galaxy_da.space import LatentSpace, SurveyEncoder
from training.adaptation import AdaptSettings, FineTuningSettings, adapt

ADAPT, CEILING, RIGHT, BY_DEFINITION = "adapt", "ceiling", "right definition", "by definition"
_BASELINES: dict[str, Baseline] = {baseline.name: baseline for baseline in all_baselines()}

METHODS = (BY_DEFINITION, *_BASELINES, ADAPT)
"""Names of all methods, the quick ones first."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Images outside the test part of the sky: prepared, and as a sample table of cutouts."""

    inputs: Inputs
    sample: pa.Table


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Images and pairs that a method may learn from.

    Attributes
    ----------
    space : LatentSpace
        Space with the anchor alone.
    encoder : SurveyEncoder
        The target's encoder by definition.
    anchor, target : Observed
        Images of both surveys.
    pairs : (k, 2) int array
        Rows of `anchor` and `target` given as the same galaxy; some may be wrong.
    seed : int
        Seed of all draws.
    steps : int, optional
        Largest number of fine-tuning steps of `training.adaptation`.
    """

    space: LatentSpace
    encoder: SurveyEncoder
    anchor: Observed
    target: Observed
    pairs: np.ndarray
    seed: int
    steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class FittedMethod:
    """A fitted method.

    Attributes
    ----------
    anchor, target : callable
        Maps from inputs to (n, d) float tensors.
    compared : dict of str to slice
        Latents to compare, ``all`` and ``galaxy``; see `benchmarks.adaptation.measure.Latents`.
    moves_anchor : bool
        True if `anchor` does not return the latents of the space.
    record : dict
        Record of the fit.
    """

    anchor: Callable[[Inputs], Tensor]
    target: Callable[[Inputs], Tensor]
    compared: Mapping[str, slice]
    moves_anchor: bool = False
    record: Mapping[str, Any] = field(default_factory=dict)


def fit_method(method: str, training_set: TrainingSet) -> FittedMethod:
    """Fit one of `METHODS`, or read the ceiling, or a target whose encoder is the right one.

    The ceiling observes by the anchor survey again.

    Raises
    ------
    ValueError
        If the method is unknown.
    CatalogError
        If there are too few pairs or images.
    """
    if method == CEILING:
        return _of_space(training_set.space, training_set.space.encoder(training_set.space.anchor))
    if method in (RIGHT, BY_DEFINITION):
        return _of_space(training_set.space, training_set.encoder)
    if method == ADAPT:
        return _adapted(training_set)
    if method not in _BASELINES:
        raise ValueError(f"method {method!r} is not one of {', '.join(METHODS)}")
    return _baseline(_BASELINES[method], training_set)


def _of_space(space: LatentSpace, encoder: SurveyEncoder) -> FittedMethod:
    """Map images through the encoders of a space."""
    return FittedMethod(
        anchor=lambda inputs: space.encode(inputs, space.anchor).mean,
        target=lambda inputs: space.encode(inputs, encoder).mean,
        compared={"all": slice(None), "galaxy": slice(space.galaxy_latents)},
        record=encoder.record,
    )


def _baseline(baseline: Baseline, training_set: TrainingSet) -> FittedMethod:
    """Fit a baseline to all images."""
    data = AdaptationData(
        space=training_set.space,
        encoder=training_set.encoder,
        anchor=training_set.anchor.inputs,
        target=training_set.target.inputs,
        seed=training_set.seed,
    )
    try:
        fit = baseline.fit(data)
    except ValueError as error:
        raise CatalogError(f"{baseline.name}: {error}") from error
    pixels = isinstance(baseline, PixelPCA)
    galaxy = None if pixels else training_set.space.galaxy_latents
    return FittedMethod(
        anchor=fit.anchor,
        target=fit.target,
        compared={"all": slice(None), "galaxy": slice(galaxy)},
        moves_anchor=pixels or isinstance(baseline, Sidda),
        record=fit.record,
    )


def _adapted(training_set: TrainingSet) -> FittedMethod:
    """Run `training.adaptation.adapt` on sample tables of native cutouts, as a user does."""
    space, survey = training_set.space, training_set.encoder.survey
    steps = training_set.steps
    tuning = FineTuningSettings() if steps is None else FineTuningSettings(steps=steps)
    settings = AdaptSettings(fine_tuning=tuning, seed=training_set.seed)
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{side}.parquet" for side in ("anchor", "target")]
        for observed, path in zip((training_set.anchor, training_set.target), paths, strict=True):
            write_table(observed.sample, path)
        anchor, target = map(Sample, paths)
        pairs = training_set.pairs
        table = _pair_table(pairs, anchor, target) if len(pairs) else None
        adapted = adapt(space, anchor, target, table, survey=survey, settings=settings)
    new = adapted.encoder(survey.name)
    if new.bands != training_set.encoder.bands:
        raise CatalogError(
            f"{survey.name}: adapted to read bands {new.bands} but the images carry "
            f"{training_set.encoder.bands}"
        )
    return _of_space(adapted, new)


def _pair_table(pairs: np.ndarray, anchor: Sample, target: Sample) -> pa.Table:
    n = len(pairs)
    return pa.table(
        {
            "anchor_id": anchor.catalog["object_id"].take(pa.array(pairs[:, 0])),
            "target_id": target.catalog["object_id"].take(pa.array(pairs[:, 1])),
            "separation_arcsec": np.zeros(n),
            "n_candidates": np.ones(n, np.int32),
            "ambiguous": np.zeros(n, bool),
        }
    )
