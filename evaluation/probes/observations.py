"""Galaxies of a truth table as a space sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from evaluation.evaluate import sample_bands
from galaxy_da.errors import TableError
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.io.tables import read_table
from galaxy_da.models.symmetries import means_by_symmetry
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey

__all__ = ["Observed", "observe_truth", "read_truth", "truth_positions"]

_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A survey's latents with the truth row of each.

    Attributes
    ----------
    survey : str
        Which.
    rows : (n,) int array
        Row of the truth table.
    vectors : (views, n, latents) float32 array
        Upright first; the anchor's also turned and mirrored.
    """

    survey: str
    rows: np.ndarray
    vectors: np.ndarray


def observe_truth(
    space: LatentSpace,
    sample: Sample,
    truth: pa.Table,
    use: np.ndarray | None = None,
    *,
    symmetric: bool = False,
    unadapted: bool = False,
    own: Mapping[str, Survey] | None = None,
) -> Observed:
    """Encode a sample's galaxies that a truth table knows.

    Parameters
    ----------
    space, sample, truth, unadapted, own
        As for `evaluation.probes.fitting.fit_probes`.
    use : (truth rows,) bool array, optional
        Galaxies to encode; by default all.
    symmetric : bool
        Also encode the seven other turned and mirrored views of each.
    """
    survey = space.survey(sample.survey, own)
    if survey.name in space.surveys or not unadapted:
        encoder = space.encoder(survey.name)
    else:
        encoder = space.unadapted(survey, sample_bands(sample, survey))
    rows = _truth_rows(sample, truth)
    if use is not None:
        rows = np.where(use[rows], rows, -1)
    known = np.flatnonzero(rows >= 0)
    if not len(known):
        raise TableError(
            f"{sample.path}: none of its {len(sample)} ids is in the truth table's column "
            f"{_key(sample.survey, truth)}" + ("" if use is None else " in the part that is used")
        )
    vectors, good = [], []
    for start in range(0, len(known), _ROWS):
        images, ok = load_images(sample, known[start : start + _ROWS], encoder, space.frame)
        vectors.append(_encode(space, encoder, images[torch.from_numpy(ok)], symmetric))
        good.append(ok)
    return Observed(
        survey=survey.name,
        rows=rows[known][np.concatenate(good)],
        vectors=np.concatenate(vectors, axis=1),
    )


def read_truth(path: PathOrUrl) -> pa.Table:
    """Read a Parquet table of truth or labels.

    Raises
    ------
    TableError
        If it is missing or no Parquet file.
    """
    return read_table(path)


def truth_positions(truth: pa.Table, anchor: Sample) -> np.ndarray:
    """Return where the galaxies of a truth table are, (2, n) ra and dec [deg].

    Where the table does not say, the anchor's positions are taken, and zero for galaxies that the
    anchor has not seen.
    """
    if {"ra", "dec"} <= set(truth.column_names):
        return np.stack([truth[name].to_numpy() for name in ("ra", "dec")])
    sky = np.zeros((2, truth.num_rows))
    rows = _truth_rows(anchor, truth)
    for axis, name in enumerate(("ra", "dec")):
        sky[axis, rows[rows >= 0]] = anchor.catalog[name].to_numpy()[rows >= 0]
    return sky


def _key(survey: str, truth: pa.Table) -> str:
    for name in ("object_id", f"{survey}_id"):
        if name in truth.column_names:
            return name
    raise TableError(
        f"the truth table needs a column object_id or {survey}_id to be joined with the sample; "
        f"it has {', '.join(truth.column_names)}"
    )


def _truth_rows(sample: Sample, truth: pa.Table) -> np.ndarray:
    """Row of the truth table for each row of a sample, -1 where it has none."""
    known = truth[_key(sample.survey, truth)].cast(pa.string()).combine_chunks()
    ids = sample.catalog["object_id"].cast(pa.string())
    return np.asarray(pc.fill_null(pc.index_in(ids, value_set=known, skip_nulls=True), -1))


def _encode(
    space: LatentSpace, encoder: SurveyEncoder, images: Tensor, symmetric: bool
) -> np.ndarray:
    if symmetric:
        return means_by_symmetry(space, encoder, images).numpy()
    return space.encode(images, encoder).mean.numpy()[None]
