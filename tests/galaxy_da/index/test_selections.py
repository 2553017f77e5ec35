import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from index_helpers import make, random_vectors
from numpy.testing import assert_array_equal

from galaxy_da.errors import CatalogError, LatentIndexError
from galaxy_da.index.selections import rows_within
from galaxy_da.latent_index import LatentIndex

TABLE = pa.table(
    {
        "z": [0.1, None, 0.3, 0.2],
        "kind": ["ring", "a, b", None, "it's = odd"],
        "n in all": pa.array([1, 2, 3, 4], pa.int16()),
        "bar": [True, False, None, True],
        "day": pa.array(["2026-01-01", "2026-02-01", None, "2026-03-01"]).cast(pa.date32()),
        "variance": [[1.0], [2.0], [3.0], [4.0]],
    }
)


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("z >= 0.2", [2, 3]),
        ("z>=0.2", [2, 3]),
        ("z < 0.2", [0]),
        ("z != 0.1", [2, 3]),
        ("kind = ring", [0]),
        ("kind == it's = odd", [3]),
        ("kind in ring, it's = odd", [0, 3]),
        ("kind not in ring", [1, 3]),
        (("kind", "in", ["a, b"]), [1]),
        (("n in all", ">", 2), [2, 3]),
        (("z", "=", 0.3), [2]),
        ("bar = true", [0, 3]),
        ("day > 2026-01-15", [1, 3]),
        ("kind = __import__('os').system('true')", []),
    ],
)
def test_conditions(condition, rows):
    assert np.flatnonzero(rows_within(TABLE, [condition])).tolist() == rows


@pytest.mark.parametrize("part", [" ", "not ", "not" + " " * 9, "x", "in", "\n", "!"])
def test_reading_a_condition_takes_linear_time(part):
    texts = [part * (count // len(part)) for count in (50_000, 400_000)]
    taken = []
    for text in texts:
        start = time.process_time()
        with pytest.raises((ValueError, LatentIndexError)):
            rows_within(TABLE, [text])
        taken.append(time.process_time() - start)
    assert taken[1] < max(0.5, 40 * taken[0])  # eight times the length


def test_all_conditions_must_hold():
    assert rows_within(TABLE, ["z > 0.1", "bar = true"]).tolist() == [False, False, False, True]
    assert rows_within(TABLE, []).all()


_operators = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])


@given(
    st.lists(st.one_of(st.none(), st.integers(-3, 3)), min_size=1, max_size=20),
    st.lists(st.tuples(st.just("x"), _operators, st.integers(-3, 3)), min_size=1, max_size=3),
)
def test_conditions_are_those_of_parquet_readers(values, conditions):
    table = pa.table({"x": pa.array(values, pa.int32()), "row": range(len(values))})
    expected = table.filter(pq.filters_to_expression(conditions))["row"].to_pylist()
    assert np.flatnonzero(rows_within(table, conditions)).tolist() == expected
    assert (
        np.flatnonzero(rows_within(table, [f"{c} {o} {v}" for c, o, v in conditions])).tolist()
        == expected
    )


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        ("z", ValueError, "condition 'z': expected COLUMN OPERATOR VALUE"),
        ("z > many", ValueError, "column 'z' holds double; 'many' does not fit"),
        (("n in all", "=", 1.5), ValueError, "holds int16; 1.5 does not fit"),
        (("z", "like", "x"), ValueError, "operator 'like' is not one of ="),
        (
            "redshift > 1",
            LatentIndexError,
            "column 'redshift' is not in this index; it has z, kind",
        ),
        ("variance > 1", LatentIndexError, "conditions take single values"),
    ],
)
def test_conditions_are_refused(condition, error, message):
    with pytest.raises(error, match=message):
        rows_within(TABLE, [condition])


def test_cone_across_zero_and_over_the_pole():
    table = pa.table({"ra": [359.9, 0.1, 180.0, 10.0], "dec": [0.0, 0.0, 89.5, 89.8]})
    assert rows_within(table, [], (0.0, 0.0, 361)).tolist() == [True, True, False, False]
    assert rows_within(table, [], (0.0, 0.0, 359)).tolist() == [False] * 4
    assert rows_within(table, [], (0.0, 90.0, 1801)).tolist() == [False, False, True, True]
    assert rows_within(table, [], (10.0, 89.8, 0)).tolist() == [False, False, False, True]
    with pytest.raises(CatalogError, match="cone: dec"):
        rows_within(table, [], (0.0, 91.0, 1))
    with pytest.raises(ValueError, match="radius must be finite and not negative but is -1"):
        rows_within(table, [], (0.0, 0.0, -1))


def test_selection_of_an_index():
    index = LatentIndex.build(
        [make(s, list(random_vectors(6, seed=i))) for i, s in enumerate("ab")]
    )
    chosen = index.select("b", where="flags >= 3")
    assert_array_equal(chosen.rows, [9, 10, 11])
    assert (len(chosen), 9 in chosen, 3 in chosen) == (3, True, False)
    assert (index.search(np.zeros((2, 3)), 5, chosen)[1] >= 9).all()
    assert_array_equal(index.select("b").rows, np.arange(6, 12))
    with pytest.raises(LatentIndexError, match="none of the 6 objects of b is in the selection"):
        index.select("b", where="flags > 5")


def test_conditions_from_a_generator_with_clean():
    index = LatentIndex.build([make("a", list(random_vectors(20)))])
    chosen = index.select(where=(text for text in ["flags >= 3"]), clean=True)
    flags = index.take(chosen.rows, ["flags"])["flags"].to_pylist()
    assert flags == [16]  # that of a substituted band
