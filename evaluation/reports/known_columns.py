"""What is known of galaxies beside their images: columns of a sample or of a table of truths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import TableError
from galaxy_da.io.samples import Sample
from galaxy_da.io.storage import PathOrUrl
from galaxy_da.io.tables import read_table

__all__ = ["Known", "known_of"]

_ID = "object_id"


@dataclass(frozen=True)
class Known:
    """Columns in the order of a sample's rows; a galaxy that is not in the table has nulls.

    Attributes
    ----------
    table : pa.Table
        One row per galaxy of the sample.
    """

    table: pa.Table

    def numbers(self, name: str) -> np.ndarray | None:
        """(n,) float64 values of a column, NaN where unknown; None without the column."""
        if name not in self.table.column_names:
            return None
        column = self.table[name].cast(pa.float64())
        return np.asarray(pc.fill_null(column, np.nan), dtype=np.float64)

    def words(self, name: str) -> np.ndarray | None:
        """(n,) str values of a column, empty where unknown; None without the column."""
        if name not in self.table.column_names:
            return None
        return np.array(pc.fill_null(self.table[name].cast(pa.string()), "").to_pylist())


def known_of(sample: Sample, truth: PathOrUrl | None = None) -> Known:
    """Take the sample's own columns, and those of a table of the truth where it is given.

    Parameters
    ----------
    sample : Sample
        Of one survey.
    truth : path, optional
        Parquet table with the sample's ids in ``SURVEY_id``, as `catalogs.simulation.sky`
        writes it, or
        in ``object_id``.

    Raises
    ------
    TableError
        If the table cannot be read, has neither column, or none of the sample's ids.
    """
    if truth is None:
        return Known(sample.catalog)
    table = read_table(truth)
    own = f"{sample.survey}_id"
    key = own if own in table.column_names else _ID
    if key not in table.column_names:
        raise TableError(f"{truth}: has neither {own!r} nor {_ID!r} to be joined by")
    ids = table[key].cast(pa.string()).combine_chunks()
    rows = pc.index_in(sample.catalog[_ID].cast(pa.string()), value_set=ids)
    if rows.null_count == len(sample):
        raise TableError(f"{truth}: column {key!r} holds no {_ID} of {sample.path}")
    return Known(table.take(rows))
