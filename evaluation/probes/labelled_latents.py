"""Summaries of the galaxies in a truth table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from evaluation.truth import truth_rows
from galaxy_da.errors import TableError
from galaxy_da.extraction.loading import load_images
from galaxy_da.extraction.summary import summarise
from galaxy_da.io.samples import Sample
from galaxy_da.models.symmetries import apply_symmetry
from galaxy_da.space import LatentSpace, SurveyEncoder

FITTED_SYMMETRIES = (0, 1, 4, 5)
"""Symmetries of images that probes are fitted to: quarter turns and mirror images."""

_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class LabelledLatents:
    """Summaries of one survey, (symmetries, n, k), each galaxy with its row in a truth table.

    The images as observed come first; where probes are fitted, the others of `FITTED_SYMMETRIES`
    follow. `rows` may repeat a galaxy that several surveys observed.
    """

    survey: str
    rows: np.ndarray
    vectors: np.ndarray


def encode_labelled(
    space: LatentSpace,
    encoder: SurveyEncoder,
    sample: Sample,
    truth: pa.Table,
    use: np.ndarray | None = None,
    *,
    symmetric: bool = False,
) -> LabelledLatents:
    """Summarise the galaxies of a sample that are in a truth table, in one or more symmetries.

    `use`, (truth rows,) bool, marks the galaxies to encode; by default all. Raises TableError if
    sample and truth do not join, or share no galaxy that is to be encoded.
    """
    rows = truth_rows(truth, sample)
    if use is not None:
        rows = np.where(use[rows], rows, -1)
    known = np.flatnonzero(rows >= 0)
    if not len(known):
        raise TableError(
            f"{sample.path}: none of its {len(sample)} galaxies is in the part of the truth table "
            "that is used"
        )
    vectors, usable = [], []
    for start in range(0, len(known), _ROWS):
        inputs, ok = load_images(sample, known[start : start + _ROWS], encoder, space.frame)
        inputs = inputs[torch.from_numpy(ok)]
        parts = []
        for number in FITTED_SYMMETRIES if symmetric else (0,):
            turned = inputs.with_images(apply_symmetry(inputs.images, number))
            parts.append(summarise(space, turned, space.encode(turned, encoder)).values)
        vectors.append(np.stack(parts))
        usable.append(ok)
    return LabelledLatents(
        survey=encoder.survey.name,
        rows=rows[known][np.concatenate(usable)],
        vectors=np.concatenate(vectors, axis=1),
    )


def joined(latents: Sequence[LabelledLatents]) -> LabelledLatents:
    """Join the latents of several surveys, named by the first."""
    return LabelledLatents(
        survey=latents[0].survey,
        rows=np.concatenate([some.rows for some in latents]),
        vectors=np.concatenate([some.vectors for some in latents], axis=1),
    )
