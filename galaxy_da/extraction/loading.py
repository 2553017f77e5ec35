"""Read the cutouts of a sample in threads, with prefetch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from galaxy_da.errors import CutoutError, TableError
from galaxy_da.extraction.prefetch import parallel_map
from galaxy_da.images.cutouts import Cutout, read_cutouts
from galaxy_da.images.inputs import Inputs
from galaxy_da.images.preparation import Frame
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import Location
from galaxy_da.space import SurveyEncoder
from galaxy_da.surveys import Survey

_BATCH_ROWS = 64
_PREFETCHED = 6


def read_batches(
    sample: Sample,
    surveys: Mapping[str, Survey],
    start: int = 0,
    wanted: np.ndarray | None = None,
    stop: int | None = None,
) -> Iterator[tuple[pa.Table, list[Cutout | CutoutError]]]:
    """Read a sample's cutouts in order, and yield batches of rows with their cutouts or errors.

    `surveys` defines every survey in the sample; `start` and `stop` bound the rows; `wanted`, (n,)
    bool, chooses among them.
    """

    def read(rows: pa.Table) -> tuple[pa.Table, list[Cutout | CutoutError]]:
        return rows, _read(rows, sample.folder, surveys)

    batches = _batches(sample, start, wanted, stop)
    yield from parallel_map(read, batches, threads=os.cpu_count() or 1, prefetch=_PREFETCHED)


def load_images(
    sample: Sample, rows: np.ndarray, encoder: SurveyEncoder, frame: Frame
) -> tuple[Inputs, np.ndarray]:
    """Prepare the cutouts of chosen rows, in memory.

    Parameters
    ----------
    sample : Sample
        Sample table of one survey.
    rows : (n,) int array
        Row numbers; may repeat.
    encoder : SurveyEncoder
        Encoder of the survey, with its bands.
    frame : Frame
        The anchor's frame.

    Returns
    -------
    inputs : Inputs
        Images, zero for a cutout that cannot be used, and the conditions of their instruments.
    ok : (n,) bool array
        True for a cutout that can be used.

    Raises
    ------
    TableError
        If the sample holds another survey.
    """
    wanted = np.zeros(len(sample), bool)
    wanted[rows] = True
    start, stop = (int(rows.min()), int(rows.max()) + 1) if len(rows) else (0, 0)
    surveys = {encoder.survey.name: encoder.survey}
    if others := sorted(set(sample.surveys) - surveys.keys()):
        raise TableError(
            f"{sample.path}: holds cutouts of {', '.join(others)} but {encoder.survey.name} was "
            "asked for; give a sample of that survey, or name the sample's own by --survey"
        )
    empty = encoder.prepare([], frame).inputs
    n = int(wanted.sum())
    images, conditions = (part.new_zeros(n, *part.shape[1:]) for part in vars(empty).values())
    ok = np.zeros(n, bool)
    done = 0
    for table, cutouts in read_batches(sample, surveys, start, wanted, stop):
        batch = slice(done, done := done + table.num_rows)
        readable = np.array([isinstance(cutout, Cutout) for cutout in cutouts])
        prepared = encoder.prepare([c for c in cutouts if isinstance(c, Cutout)], frame)
        images[batch][torch.from_numpy(readable)] = prepared.images
        conditions[batch][torch.from_numpy(readable)] = prepared.inputs.conditions
        ok[batch][readable] = [problem is None for problem in prepared.problems]
    place = (np.cumsum(wanted) - 1)[rows]
    return Inputs(images, conditions)[place], ok[place]


def row_numbers(sample: Sample, ids: pa.ChunkedArray) -> np.ndarray:
    """Return the row of each object id in a sample of one survey, -1 for an unknown id."""
    own = sample.catalog["object_id"].cast(pa.string()).combine_chunks()
    return np.asarray(pc.fill_null(pc.index_in(ids.cast(pa.string()), value_set=own), -1))


def _batches(
    sample: Sample, start: int, wanted: np.ndarray | None, stop: int | None
) -> Iterator[pa.Table]:
    position = start
    for rows in sample.batches(_BATCH_ROWS, start, stop):
        if wanted is None:
            yield rows
        elif wanted[position : position + rows.num_rows].any():
            yield rows.filter(pa.array(wanted[position : position + rows.num_rows]))
        position += rows.num_rows


def _read(
    rows: pa.Table, folder: Location, surveys: Mapping[str, Survey]
) -> list[Cutout | CutoutError]:
    """Read a batch that may mix surveys, in row order."""
    names = rows["survey"].to_pylist()
    results: dict[int, Cutout | CutoutError] = {}
    for name in dict.fromkeys(names):
        members = [i for i, other in enumerate(names) if other == name]
        group = rows if len(members) == rows.num_rows else rows.take(members)
        results.update(zip(members, read_cutouts(group, folder, surveys[name]), strict=True))
    if "status" in rows.column_names:
        for i, status in enumerate(rows["status"].to_pylist()):
            if status not in (None, "ok"):
                results[i] = CutoutError("its cutout was not obtained", status=status)
    return [results[i] for i in range(len(names))]
