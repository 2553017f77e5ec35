"""Tables of true or measured properties, joined to the rows of a sample by object id."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import TableError
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.io.tables import read_table


@dataclass(frozen=True)
class GalaxyProperties:
    """Columns in the order of a sample's rows; galaxies without a value have nulls."""

    table: pa.Table

    def numbers(self, name: str) -> np.ndarray | None:
        """Return a column as (n,) float64, NaN where unknown; None without the column."""
        if name not in self.table.column_names:
            return None
        column = self.table[name].cast(pa.float64())
        return np.asarray(pc.fill_null(column, np.nan), dtype=np.float64)

    def texts(self, name: str) -> np.ndarray | None:
        """Return a column as (n,) str, empty where unknown; None without the column."""
        if name not in self.table.column_names:
            return None
        return np.array(pc.fill_null(self.table[name].cast(pa.string()), "").to_pylist())


def galaxy_properties(sample: Sample, truth: PathOrUrl | None = None) -> GalaxyProperties:
    """Return the columns of a truth table, or without one the sample's own columns.

    Raises TableError if the table does not join as `truth_rows` says.
    """
    if truth is None:
        return GalaxyProperties(sample.catalog)
    table = read_table(truth)
    rows = truth_rows(table, sample)
    return GalaxyProperties(table.take(pa.array(rows, mask=rows < 0)))


def truth_rows(truth: pa.Table, sample: Sample) -> np.ndarray:
    """Return the row of a truth table for each row of a sample, -1 where it has none.

    The table has the sample's ids in ``object_id`` or, as in a simulated sky, ``SURVEY_id``. Raises
    TableError if it has neither column, or none of the sample's ids.
    """
    keys = [k for k in ("object_id", f"{sample.survey}_id") if k in truth.column_names]
    if not keys:
        raise TableError(
            f"the truth table needs a column object_id or {sample.survey}_id to be joined with the "
            f"sample; it has {', '.join(truth.column_names)}"
        )
    known = truth[keys[0]].cast(pa.string()).combine_chunks()
    ids = sample.catalog["object_id"].cast(pa.string())
    rows = pc.index_in(ids, value_set=known, skip_nulls=True)
    if rows.null_count == len(rows):
        raise TableError(
            f"none of the {truth.num_rows} ids in column {keys[0]} of the truth table is in "
            f"{sample.path}; give a table of this sample"
        )
    return np.asarray(pc.fill_null(rows, -1))


def truth_positions(truth: pa.Table, anchor: Sample) -> np.ndarray:
    """Return ra and dec of the galaxies in a truth table, (2, n) [deg].

    A table without positions takes those of the anchor's sample, and zero for galaxies that the
    sample lacks.
    """
    if {"ra", "dec"} <= set(truth.column_names):
        return np.stack([truth[name].to_numpy() for name in ("ra", "dec")])
    sky = np.zeros((2, truth.num_rows))
    rows = truth_rows(truth, anchor)
    for axis, name in enumerate(("ra", "dec")):
        sky[axis, rows[rows >= 0]] = anchor.catalog[name].to_numpy()[rows >= 0]
    return sky
