"""Fixtures of these tests."""

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from folder_helpers import DEC, IDS, RA, N


@pytest.fixture
def catalogue(tmp_path):
    """Return a catalogue in another order than the files, with one galaxy more."""
    order = np.random.default_rng(1).permutation(N)
    table = pa.table(
        {
            "id": [IDS[i] for i in order] + ["lost"],
            "ra": [*RA[order], 10.0],
            "dec": [*DEC[order], 10.0],
            "mag": [*order.astype(float), 99.0],
            "survey": ["other"] * (N + 1),
            "bands": ["nonsense"] * (N + 1),
        }
    )
    csv.write_csv(table, tmp_path / "catalogue.csv")
    return tmp_path / "catalogue.csv"
