import gc
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_helpers import data_file, make, random_vectors, same_index, write_features
from numpy.testing import assert_allclose, assert_array_equal

from galaxy_da.errors import LatentIndexError, StorageError
from galaxy_da.index import Subset, add, create, delete, rebuild, segments
from galaxy_da.io.locks import only_writer
from galaxy_da.latent_index import LatentIndex

_ids = st.text(max_size=4)  # empty, spaces, colons and any script
_surveys = st.sampled_from(["a", "b", "ü c"])
_changes = st.lists(
    st.one_of(
        st.tuples(st.just("add"), _surveys, st.lists(_ids, min_size=1, max_size=6, unique=True)),
        st.tuples(st.just("delete"), st.integers(0, 2**31), st.integers(1, 4)),
        st.tuples(st.just("rebuild")),
    ),
    max_size=7,
)


def object_table(survey, ids, seed):
    rng = np.random.default_rng(seed)
    n = len(ids)
    return make(
        survey,
        list(rng.integers(-3, 4, size=(n, 3)).astype(np.float32)),
        ids=ids,
        ra=rng.uniform(10, 11, n),
        dec=rng.uniform(-1, 1, n),
        z=pa.array([None if i % 3 == 0 else i / 10 for i in range(n)], pa.float64()),
    )


def expected_rows(features):
    columns = features.table.select(["survey", "object_id", "ra", "dec", "z", "embedding"])
    return {f"{r['survey']}:{r['object_id']}": r for r in columns.to_pylist()}


def test_units_and_descriptions_are_kept_through_every_change(tmp_path):
    """Errors and other notes of a column stay with the features."""
    notes = {b"unit": b"mag", b"ucd": b"phot.mag", b"description": b"r magnitude"}
    field = pa.field("mag", pa.float32(), metadata={**notes, b"errors": b"{}"})
    tables = []
    for ids in (["x", "y"], ["z"]):
        features = object_table("a", ids, seed=len(ids))
        mag = pa.array([18.0] * len(ids), pa.float32())
        tables.append(replace(features, table=features.table.append_column(field, mag)))
    create(tmp_path, tables[:1])
    add(tmp_path, tables[1:])
    for change in (lambda: None, lambda: rebuild(tmp_path), lambda: delete(tmp_path, ["a:x"])):
        change()
        index = LatentIndex.open(tmp_path)
        assert index.rows.schema.field("mag").metadata == notes
        assert index.take(np.array([1, 0]), ["mag"]).schema.field("mag").metadata == notes


@given(_changes, st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_search_after_any_changes_matches_brute_force(tmp_path_factory, changes, seed):
    """Compare an index after add, delete and rebuild with a dictionary of the same objects."""
    folder = tmp_path_factory.mktemp("history")
    first = object_table("a", ["", "x", "a:b"], seed)
    create(folder, [first])
    model = expected_rows(first)
    for step, change in enumerate(changes):
        if change[0] == "add":
            more = object_table(change[1], change[2], seed + step + 1)
            known = set(expected_rows(more)) & set(model)
            if known:
                with pytest.raises(LatentIndexError, match=f"{len(known)} of .* already"):
                    add(folder, [more])
            add(folder, [more], replace=bool(known))
            model |= expected_rows(more)
        elif change[0] == "delete":
            gone = np.random.default_rng(change[1]).permutation(sorted(model))[: change[2]].tolist()
            if len(gone) < len(model):
                assert delete(folder, gone) == len(gone)
                model = {key: row for key, row in model.items() if key not in gone}
        else:
            rebuild(folder)
    index = LatentIndex.open(folder)
    assert_same_objects(index, model)
    assert_answers(index, model, seed)


def assert_same_objects(index, model):
    keys = [f"{r['survey']}:{r['object_id']}" for r in index.rows.to_pylist()]
    assert sorted(keys) == sorted(model)
    assert_array_equal(index.vectors[:], [model[key]["embedding"] for key in keys])
    assert index.surveys == tuple(sorted({key.partition(":")[0] for key in model}))
    for row, key in enumerate(keys):
        assert index.row(key) == row
        start, stop = index.span(key.partition(":")[0])
        assert start <= row < stop


def assert_answers(index, model, seed):
    rng = np.random.default_rng(seed)
    point = rng.normal(scale=2, size=3)
    survey = rng.choice([None, *index.surveys])
    least, centre = float(rng.uniform(0, 0.4)), (10.5, 0.0, float(rng.uniform(600, 4000)))
    for where, cone in [((), None), ([("z", ">=", least)], None), (f"z < {least}", centre)]:
        allowed = {
            key: row
            for key, row in model.items()
            if (survey is None or row["survey"] == survey)
            and (not where or (row["z"] is not None and (row["z"] < least) == (where[0] == "z")))
            and (cone is None or separation_arcsec(row, centre) <= centre[2])
        }
        if not allowed:
            with pytest.raises(LatentIndexError, match="is in the selection; widen it"):
                index.similar(point, 5, survey, within=Subset(where=where, cone=cone))
            continue
        truth = {k: np.linalg.norm(np.subtract(r["embedding"], point)) for k, r in allowed.items()}
        answer = index.similar(point, 5, survey, within=Subset(where=where, cone=cone)).to_pylist()
        found = [f"{row['survey']}:{row['object_id']}" for row in answer]
        assert len(set(found)) == len(found) == min(5, len(allowed))
        distances = [row["distance"] for row in answer]
        assert_allclose(distances, sorted(truth.values())[:5], rtol=1e-5)
        assert_allclose(distances, [truth[key] for key in found], rtol=1e-5)


def separation_arcsec(row, centre):
    one, other = (
        np.array([np.cos(d) * np.cos(r), np.cos(d) * np.sin(r), np.sin(d)])
        for r, d in (np.radians([row["ra"], row["dec"]]), np.radians(centre[:2]))
    )
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(one, other)), one @ other)) * 3600


def test_create_from_folders_matches_build_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("galaxy_da.index.sources.BATCH_ROWS", 7)
    parts = [
        make("b", [*random_vectors(20), None], z=pa.array(range(21))),
        make("a", list(random_vectors(9, seed=1)), ids=list("ihgfedcba")),
    ]
    folders = [write_features(tmp_path / str(i), part) for i, part in enumerate(parts)]
    create(tmp_path / "index", folders)
    opened = LatentIndex.open(tmp_path / "index")
    assert same_index(opened, LatentIndex.build(parts))
    assert same_index(opened, LatentIndex.build(folders))
    assert opened.rows["object_id"].num_chunks > 1
    taken = opened.take(np.array([28, 3, 3, 15]), ["object_id", "z"])
    assert taken.equals(
        opened.rows.select(["object_id", "z"]).combine_chunks().take([28, 3, 3, 15])
    )


def test_a_key_that_repeats_across_batches_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("galaxy_da.index.sources.BATCH_ROWS", 2)
    parts = [make("a", [[1, 2]] * 2, ids=["p", "q"]), make("a", [[1, 2]] * 2, ids=["q", "r"])]
    with pytest.raises(LatentIndexError, match="a:q comes more than once"):
        create(tmp_path, parts)


def test_an_open_index_does_not_change(tmp_path):
    create(tmp_path, [object_table("a", list("abcd"), 0)])
    before = LatentIndex.open(tmp_path)
    rows = before.rows.to_pylist()
    delete(tmp_path, ["a:b"])
    add(tmp_path, [object_table("b", list("xyz"), 1)])
    rebuild(tmp_path)
    assert before.rows.to_pylist() == rows
    assert before.search(np.zeros((1, 3)), 4)[1].shape == (1, 4)
    assert LatentIndex.open(tmp_path).generation == before.generation + 3


def test_old_files_are_removed_when_no_reader_needs_them(tmp_path):
    create(tmp_path, [object_table("a", list("abcd"), 0)])
    reader = LatentIndex.open(tmp_path)
    old = data_file(tmp_path, "vectors")
    delete(tmp_path, ["a:b"])
    rebuild(tmp_path)
    assert old.exists()
    del reader
    gc.collect()
    rebuild(tmp_path)
    assert not old.exists()
    assert len([path for path in tmp_path.iterdir() if path.name != ".writer"]) == 3


def test_small_segments_are_merged(tmp_path):
    create(tmp_path, [make("a", list(random_vectors(64)))])
    for i in range(16):
        add(tmp_path, [make("b", list(random_vectors(1, seed=i)), ids=[str(i)])])
        assert len(json.loads((tmp_path / "index.json").read_text())["segments"]) <= 6
    index = LatentIndex.open(tmp_path)
    assert len(index) == 80
    assert index.vectors[index.row("b:11")].tolist() == random_vectors(1, seed=11)[0].tolist()


def test_many_deleted_rows_are_not_returned(tmp_path, monkeypatch):
    create(tmp_path, [make("a", list(random_vectors(60))), make("b", list(random_vectors(60)))])
    delete(tmp_path, [f"{s}:id {i}" for s in "ab" for i in range(0, 60, 2)])
    few = LatentIndex.open(tmp_path)
    monkeypatch.setattr(segments, "_MANY_PIECES", 10)
    many = LatentIndex.open(tmp_path)
    assert len(few.rows) == len(many.rows) == 60
    assert same_index(few, many)


def test_deleting_by_selection(tmp_path):
    create(tmp_path, [object_table("a", list("abcdef"), 0), object_table("b", list("ab"), 1)])
    assert delete(tmp_path, lambda index: index.select("a", where="z > 0.15")) == 3
    assert LatentIndex.open(tmp_path).rows["object_id"].to_pylist() == list("abd") + list("ab")


def test_a_deleted_object_is_unknown_until_added_again(tmp_path):
    create(tmp_path, [object_table("a", list("abc"), 0)])
    for gone in ("a:c", "a:a"):
        delete(tmp_path, [gone])
        with pytest.raises(LatentIndexError, match=f"no object '{gone}'"):
            LatentIndex.open(tmp_path).row(gone)
        with pytest.raises(LatentIndexError, match=f"no object '{gone}'"):
            delete(tmp_path, [gone])
    add(tmp_path, [object_table("a", ["c"], 1)])
    assert LatentIndex.open(tmp_path).row("a:c") >= 0


def test_changes_are_refused(tmp_path):
    create(tmp_path, [object_table("a", list("abc"), 0)])
    before = (tmp_path / "index.json").read_bytes()
    for features, message in [
        (make("b", [[1, 2, 3]], space_id="f" * 64), "built with space 5bace"),
        (make("b", [[1, 2]]), "width 2 but this index of 3"),
        (make("a", [[1, 2, 3]], encoder="other"), "a: some features come from encoder e"),
        (make("b", [[1, 2, 3]], z=pa.array(["x"])), "disagree about a column.* z"),
        (make("b", [[1, 2, 3], [1, np.nan, 0]]), "b:id 1: embedding is not finite"),
        (make("b", [None], width=3), "nothing to index"),
    ]:
        with pytest.raises(LatentIndexError, match=message):
            add(tmp_path, [features])
    for keys, message in [
        (["a:a", "a:b", "a:c"], "all 3 objects would be deleted"),
        (["a:a", "a:x"], "no object 'a:x'"),
    ]:
        with pytest.raises(LatentIndexError, match=message):
            delete(tmp_path, keys)
    for change in (lambda: rebuild(tmp_path, kind="tree"), lambda: create(tmp_path, [], kind="x")):
        with pytest.raises(ValueError, match="kind must be auto, flat, ivfpq but is"):
            change()
    assert (tmp_path / "index.json").read_bytes() == before
    assert not list(tmp_path.glob(".draft*"))
    with pytest.raises(LatentIndexError, match="no index here"):
        add(tmp_path / "none", [object_table("a", ["x"], 0)])
    assert not (tmp_path / "none").exists()


def test_two_writers_at_once(tmp_path):
    create(tmp_path, [object_table("a", list("abc"), 0)])
    more = object_table("b", ["x"], 1)
    with only_writer(tmp_path):
        for change in (
            lambda: add(tmp_path, [more]),
            lambda: delete(tmp_path, ["a:a"]),
            lambda: rebuild(tmp_path),
            lambda: create(tmp_path, [more]),
            lambda: LatentIndex.build([more]).save(tmp_path),
        ):
            with pytest.raises(StorageError, match="another process is writing") as caught:
                change()
            assert "\n" not in str(caught.value)
        assert len(LatentIndex.open(tmp_path)) == 3
    assert add(tmp_path, [more]) == 1


def test_check_reads_every_byte(tmp_path, monkeypatch):
    create(tmp_path, [make("a", list(np.zeros((20_000, 40), np.float32)))])
    LatentIndex.open(tmp_path, whole=True)
    path = data_file(tmp_path, "vectors")
    with path.open("rb+") as handle:
        handle.seek(path.stat().st_size // 2)
        handle.write(b"\x01")
    monkeypatch.setattr("galaxy_da.index.reading._HASHED_BYTES", 0)
    LatentIndex.open(tmp_path)  # as of a large index, of which only the ends are compared
    with pytest.raises(LatentIndexError, match=f"{path.name}: is damaged"):
        LatentIndex.open(tmp_path, whole=True)
