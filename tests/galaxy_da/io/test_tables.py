import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_da.errors import GalaxyDAError, TableError
from galaxy_da.io.tables import check_unique, read_metadata, read_pairs, with_metadata


def test_metadata_round_trip(tmp_path):
    table = with_metadata(pa.table({"anchor_id": ["a"]}), {"radius_arcsec": 1.0})
    pq.write_table(table, tmp_path / "p.parquet")
    assert read_metadata(pq.read_schema(tmp_path / "p.parquet")) == {"radius_arcsec": 1.0}
    with pytest.raises(GalaxyDAError, match="'target_id', 'separation_arcsec'"):
        read_pairs(tmp_path / "p.parquet")


@given(
    ids=st.lists(st.text("ab0\0é", max_size=20)),
    repeated=st.booleans(),
    cut=st.integers(0, 30),
    long=st.booleans(),
    kind=st.sampled_from([pa.string(), pa.large_string()]),
)
def test_repeated_ids_are_found_as_a_set_finds_them(ids, repeated, cut, long, kind):
    ids = list(dict.fromkeys(ids)) + (ids[:1] if repeated else []) + (["a" * 99] if long else [])
    array = pa.array(["before", *ids], kind)[1:]
    table = pa.table({"object_id": pa.chunked_array([array[:cut], array[cut:]], kind)})
    if len(set(ids)) == len(ids):
        check_unique(table, ("object_id",), "ids")
    else:
        with pytest.raises(TableError, match="1 ids appear more than once"):
            check_unique(table, ("object_id",), "ids")


def test_ids_may_repeat_in_another_survey():
    table = pa.table({"survey": ["sdss", "hsc", "hsc"], "object_id": ["1", "1", "2"]})
    check_unique(table, ("survey", "object_id"), "ids")
    with pytest.raises(TableError, match=r"hsc:1 \(2 times\)"):
        check_unique(pa.concat_tables([table, table[1:2]]), ("survey", "object_id"), "ids")


def test_distinct_ids_are_told_by_their_hashes(monkeypatch):
    monkeypatch.setattr(pa.compute, "unique", None)  # the exact test is not needed
    ids = [f"J{k // 7:05d}{-k:+d}" for k in range(20_000)]
    check_unique(pa.table({"object_id": ids}), ("object_id",), "ids")
