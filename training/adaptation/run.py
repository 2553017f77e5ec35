"""Adaptation of a space to a new survey: fit candidates, keep the best on held-out data.

The anchor stays frozen, and reads the new survey by its definition, which is the first candidate
(`training.adaptation.candidates`). Another one has to be as good as the best within the error of
the comparison.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalogs.matching.pairs import PairedRows
from catalogs.splits import choose_split
from evaluation.targets import known_splits, sample_bands
from galaxy_da.errors import CatalogError, SpaceError
from galaxy_da.extraction.parts import files_fingerprint
from galaxy_da.extraction.problems import describe_problems
from galaxy_da.io.files import json_hash
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_metadata
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey, get_survey
from training.adaptation.decisions import Decisions
from training.adaptation.images import load_paired_images
from training.adaptation.settings import AdaptSettings
from training.adaptation.unpaired import UnpairedImages, adapt_without_pairs
from training.adaptation.with_pairs import adapt_with_few_pairs, adapt_with_pairs
from training.parallel.fabric import make_fabric

MOST_PAIRS = 10_000
"""Training pairs held in memory; the seed chooses among more."""

FEWEST_PAIRS = 10
"""Least number of pairs outside the test part of the sky for any comparison."""

FEW_HELD_OUT = 30
"""Validation pairs below which candidates are cross-validated, and none is trained on pairs."""


def adapt(
    space: LatentSpace,
    anchor: Sample,
    target: Sample,
    pairs: pa.Table | None = None,
    *,
    survey: Survey | None = None,
    settings: AdaptSettings | None = None,
) -> LatentSpace:
    """Return the space with one more survey.

    Parameters
    ----------
    space : LatentSpace
        Not modified.
    anchor, target : Sample
        Cutouts of the anchor survey and of the new one.
    pairs : pa.Table, optional
        Pair table from anchor to target. Its training part (by sky position) fits the candidates,
        its validation part chooses, and its test part is left for `evaluation`. Pairs that look
        like two galaxies are left out of the fit. Without pairs, adaptation uses images of any
        galaxies; `training.adaptation.unpaired` says when it refuses to match them.
    survey : Survey, optional
        Definition of the new survey; by default the built-in one of the target sample.
    settings : AdaptSettings, optional
        Fine-tuning, seed, checkpoint folder and progress bar.

    Returns
    -------
    LatentSpace
        Its ``encoder(survey.name).record`` holds every candidate's score, the fitted numbers of the
        ``instrument``, the curves, the settings, the split of the sky, and ``warnings``.

    Raises
    ------
    CatalogError
        If fewer than 10 usable pairs fall outside the test part of the sky.
    SpaceError
        If the survey is the space's anchor.
    StorageError
        If the checkpoint is of another adaptation.
    """
    make_fabric()
    settings = settings or AdaptSettings()
    survey = survey or get_survey(target.survey)
    if survey.name == space.anchor:
        raise SpaceError(f"{survey.name}: is the anchor of this space and stays as it is")
    start = space.by_definition(survey, sample_bands(target, survey))
    ids = [] if pairs is None else [pairs[name].to_pylist() for name in ("anchor_id", "target_id")]
    keys = [_sample_key(*read) for read in ((anchor, space.survey(space.anchor)), (target, survey))]
    facts = [space.id, *keys, ids, survey.name]
    identity = json_hash([facts, settings.fine_tuning.model_dump(), settings.seed])
    Decisions(settings).claim(identity)
    samples, seed = (anchor, target), settings.seed
    if pairs is None:
        catalogs, known = [sample.catalog for sample in (target, anchor)], known_splits(space)
        splits = [choose_split(np.asarray(c["ra"]), np.asarray(c["dec"]), known) for c in catalogs]
        split = max(splits, key=lambda split: split.order)  # of the sample that needs finer cells
        images = UnpairedImages.load(space, samples, start, seed, split)
        network, record = adapt_without_pairs(images, settings)
        record |= {"split": split.as_record()}
        return space.with_survey(replace(start, network=network, record=record))
    rows = PairedRows.of(pairs, anchor, target, known=known_splits(space))
    train, held = (
        load_paired_images(space, anchor, target, rows.only(part, MOST_PAIRS, seed), start)
        for part in ("train", "validation")
    )
    if len(train) + len(held) < FEWEST_PAIRS:
        raise CatalogError(
            f"{survey.name}: only {len(train) + len(held)} usable pairs fall outside the test part "
            f"of the sky, at least {FEWEST_PAIRS} are needed; match a larger area, or adapt "
            "without pairs"
            + describe_problems(anchor, rows.anchor, space.encoder(space.anchor), space.frame)
            + describe_problems(target, rows.target, start, space.frame)
        )
    if len(held) < FEW_HELD_OUT:
        try:
            few = UnpairedImages.load(space, samples, start, seed, rows.split)
        except CatalogError:  # too few images
            few = None
        others = None if few is None else few.latents_except(rows.anchor)
        network, record = adapt_with_few_pairs(train.extended(held), few, others, settings)
    else:
        wrong_share = float(read_metadata(pairs.schema).get("expected_false_share", 0.0))
        network, record = adapt_with_pairs(train, held, settings, wrong_share)
    record |= {"seed": seed, "split": rows.split.as_record()}
    return space.with_survey(replace(start, network=network, record=record))


def _sample_key(sample: Sample, survey: Survey) -> list[Any]:
    sums = [float(pc.sum(sample.catalog[axis]).as_py()) for axis in ("ra", "dec")]
    return [sample.path.name, len(sample), *sums, files_fingerprint(sample, [survey])]
