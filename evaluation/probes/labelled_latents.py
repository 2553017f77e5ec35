"""Latents of the galaxies in a truth table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from evaluation.truth import truth_rows
from galaxy_da.errors import TableError
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.samples import Sample
from galaxy_da.models.symmetric_outputs import means_by_symmetry
from galaxy_da.space import LatentSpace, SurveyEncoder

__all__ = ["LabelledLatents", "encode_labelled", "joined"]

_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class LabelledLatents:
    """Latents of one survey, (symmetries, n, latents), each galaxy with its row in a truth table.

    The images as observed come first; where probes are fitted, the seven other dihedral symmetries
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
    """Encode the galaxies of a sample that are in a truth table, in one or all eight symmetries.

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
        if symmetric:
            vectors.append(means_by_symmetry(encoder.network, inputs).numpy())
        else:
            vectors.append(space.encode(inputs, encoder).mean.numpy()[None])
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
