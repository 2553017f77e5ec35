import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_da.errors import CatalogError, TableError
from galaxy_da.io.samples import Sample, validate_sample


def sample(**changes):
    columns = {
        "object_id": ["a", "b"],
        "survey": ["decals", "decals"],
        "ra": [0.0, 359.9],
        "dec": [-90.0, 12.0],
        "cutout": ["a.fits", "b.fits"],
    }
    columns.update(changes)
    return pa.table({name: value for name, value in columns.items() if value is not None})


def test_good_samples_pass():
    validate_sample(sample(), "here")
    validate_sample(sample(cutout=None, image=[b"", b""]), "here")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dec": None}, "'dec' is missing"),
        ({"cutout": None}, "'cutout' column .* or an 'image' column"),
        ({"object_id": ["a", "a"]}, "decals:a .2 times"),
        ({"object_id": [1, 2]}, "must hold strings but holds int64"),
        ({"survey": ["decals", None]}, "'survey' has 1 empty"),
        ({"ra": [361.0, -1.0]}, "none of 2 rows has a usable position: ra is 361"),
        ({"ra": [float("nan"), None]}, "none of 2 rows has a usable position: ra is nan"),
        ({"ra": [10.0, 20.0], "dec": [100.0, 120.0]}, "dec reaches 120 .*swapped"),
        ({"ra": ["here", "there"]}, "ra and dec must be numbers"),
        ({"photometric": [1, 0]}, "'photometric' must hold true or false but holds int64"),
        ({"status": ["ok", "lost"]}, "'lost'.*is not one of ok"),
    ],
)
def test_broken_rule_is_named(changes, message):
    with pytest.raises((TableError, CatalogError), match=message):
        validate_sample(sample(**changes), "here")


def test_same_id_in_two_surveys_is_allowed():
    validate_sample(sample(object_id=["a", "a"], survey=["decals", "sdss"]), "here")


def test_files_that_are_no_table_are_refused(tmp_path):
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(TableError, match="is not a Parquet file"):
        Sample(tmp_path / "x.parquet")
    with pytest.raises(TableError, match="no such table"):
        Sample(tmp_path / "y.parquet")


def test_mixed_surveys_are_named(tmp_path):
    pq.write_table(sample(survey=["hsc", "decals"]), tmp_path / "s.parquet")
    opened = Sample(tmp_path / "s.parquet")
    assert opened.surveys == ("decals", "hsc")
    with pytest.raises(TableError, match="found decals, hsc"):
        _ = opened.survey


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 60),
    group=st.integers(1, 25),
    batch=st.integers(1, 25),
    start=st.integers(0, 70),
    length=st.integers(0, 70),
)
def test_batches_are_the_requested_rows(tmp_path_factory, rows, group, batch, start, length):
    path = tmp_path_factory.mktemp("s") / "s.parquet"
    table = pa.table(
        {
            "object_id": [f"{i}" for i in range(rows)],
            "survey": ["decals"] * rows,
            "ra": np.zeros(rows),
            "dec": np.zeros(rows),
            "image": [bytes([i]) for i in range(rows)],
        }
    )
    pq.write_table(table, path, row_group_size=group)
    got = [
        value
        for part in Sample(path).batches(batch, start, start + length)
        for value in part["image"].to_pylist()
    ]
    assert got == [bytes([i]) for i in range(rows)][start : start + length]
