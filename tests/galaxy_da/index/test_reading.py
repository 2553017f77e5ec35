import gc
import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_helpers import SPACE, data_file, make, random_vectors, same_index
from numpy.testing import assert_allclose, assert_array_equal

from galaxy_da.errors import CatalogError, LatentIndexError, StorageError
from galaxy_da.index import reading, segments
from galaxy_da.io.features import Features
from galaxy_da.io.files import file_hash, json_hash
from galaxy_da.latent_index import LatentIndex


@pytest.fixture
def index():
    return LatentIndex.build(
        [
            make("sdss", list(random_vectors(5, seed=1)), ids=["b", "a:1", "ü ", "a", ":"]),
            make("decals", [*random_vectors(4, seed=2), None], ids=["b", "c", "d", "e", "dead"]),
        ]
    )


@pytest.fixture
def saved(index, tmp_path):
    index.save(tmp_path / "index")
    return tmp_path / "index"


# small integers make many exact ties and duplicates; offsets make distances hard for float32
_clouds = st.tuples(
    st.integers(1, 30), st.integers(1, 5), st.integers(0, 2**31), st.sampled_from([0, 0, 100])
)


@given(_clouds, st.integers(1, 40), st.sampled_from([None, "a", "b"]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_search_matches_brute_force(cloud, k, survey, whole_numbers):
    n, d, seed, offset = cloud
    rng = np.random.default_rng(seed)
    scale, digits = (3, 0) if whole_numbers else (1, 7)
    points = (rng.normal(scale=scale, size=(2 * n, d)).round(digits) + offset).astype(np.float32)
    asked = (rng.normal(scale=scale, size=(4, d)).round(digits) + offset).astype(np.float32)
    index = LatentIndex.build([make("a", list(points[:n])), make("b", list(points[n:]))])

    distances, rows = index.search(asked, k, survey)

    truth = np.linalg.norm(asked[:, None].astype(float) - index.vectors[:][None], axis=-1)
    allowed = np.flatnonzero([survey in (None, name) for name in index.rows["survey"].to_pylist()])
    expected = np.sort(truth[:, allowed], axis=1)[:, :k]
    assert distances.dtype == np.float32
    assert_allclose(distances, expected, rtol=1e-5, atol=1e-6)
    assert_allclose(distances, np.take_along_axis(truth, rows, 1), rtol=1e-5, atol=1e-6)
    assert np.isin(rows, allowed).all()
    assert all(len(set(row)) == len(row) for row in rows.tolist())
    tied = np.diff(distances, axis=1) == 0
    assert (np.diff(rows, axis=1)[tied] > 0).all()


def test_batches_do_not_change_the_answer(index, monkeypatch):
    asked = random_vectors(17, seed=3)
    whole = index.search(asked, 4, "sdss")
    monkeypatch.setattr(reading, "_BATCH_VALUES", 24)
    for part, full in zip(index.search(asked, 4, "sdss"), whole, strict=True):
        assert_array_equal(part, full)


def test_near_duplicates_far_from_the_origin_keep_their_distance():
    """FAISS expands the square in large searches, which here costs it 0.05 and more."""
    points = random_vectors(6000, d=40) + 10
    distances, rows = LatentIndex.build([make("a", list(points))]).search(points[::-1], 1)
    assert_array_equal(distances, 0)
    assert len(set(rows[:, 0].tolist())) == len(points)


def test_search_of_no_vectors(index):
    distances, rows = index.search(np.empty((0, 3)), 2)
    assert distances.shape == rows.shape == (0, 2)


@pytest.mark.parametrize(
    ("vectors", "k", "message"),
    [
        (np.zeros((1, 3)), 0, "k must be at least 1 but is 0"),
        (np.zeros((2, 4)), 1, r"\(n, 3\) but have \(2, 4\)"),
        (np.zeros(3), 1, r"\(n, 3\) but have \(3,\)"),
        (np.array([[0, np.nan, 0]]), 1, "finite"),
        (np.array([[0, 1e30, 0]]), 1, "finite"),
        (np.array([[0, 1e300, 0]]), 1, "finite"),
    ],
)
def test_search_refuses(index, vectors, k, message):
    with pytest.raises(ValueError, match=message):
        index.search(vectors, k)


def test_search_refuses_an_absent_survey(index):
    with pytest.raises(LatentIndexError, match="'hsc' is not in this index; it has decals, sdss"):
        index.search(np.zeros((1, 3)), 1, "hsc")


def test_build_keeps_rows_with_embedding_and_their_columns():
    one = make("sdss", [[1, 2], None, [3, 4]], redshift=pa.array([0.1, 0.2, 0.3]))
    other = make("decals", [[5, 6]], bar=pa.array(["yes"]))
    index = LatentIndex.build([one, other])
    assert index.surveys == ("decals", "sdss")
    assert index.encoders == {"sdss": "e", "decals": "e"}
    assert len(index) == 3
    assert_array_equal(index.vectors, [[5, 6], [1, 2], [3, 4]])
    rows = index.rows.to_pydict()
    assert rows["object_id"] == ["id 0", "id 0", "id 2"]
    assert rows["redshift"] == [None, 0.1, 0.3]
    assert rows["bar"] == ["yes", None, None]
    assert rows["flags"] == [0, 0, 2]
    assert rows["variance"] == [[5, 6], [1, 2], [3, 4]]
    assert not {"status", "message", "embedding"} & set(rows)


def test_build_order_does_not_matter(tmp_path):
    parts = [make("b", list(random_vectors(4))), make("a", list(random_vectors(3, seed=1)))]
    for folder, order in (("one", parts), ("two", parts[::-1])):
        LatentIndex.build(order).save(tmp_path / folder)
    for kind in ("rows", "vectors"):
        assert file_hash(data_file(tmp_path / "one", kind)) == file_hash(
            data_file(tmp_path / "two", kind)
        )


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], "nothing to index: no features"),
        ([make("a", [])], "nothing to index: none of the 0 rows"),
        ([make("a", [None, None])], "nothing to index: none of the 2 rows"),
        (
            [make("a", [[1, 2]]), make("b", [[1, 2]], space_id="f" * 64)],
            "space 5bace0000000 and of space ffffffffffff",
        ),
        (
            [make("a", [[1, 2]]), make("a", [[1, 2]], ids=["x"], encoder="other")],
            "a: some features come from encoder e and some from other",
        ),
        ([make("a", [[1, 2]]), make("b", [[1, 2, 3]])], "widths 2, 3"),
        ([make("a", [[1, 2]]), make("a", [[3, 4]])], "a:id 0"),
        ([make("a", [[1, 2], [1, np.nan]])], "a:id 1: embedding is not finite"),
        ([make("a", [[1, 2], [1, np.inf]])], "a:id 1: embedding is not finite"),
        ([make("a", [[1, 2], [1, 1e25]])], "a:id 1: embedding is not finite"),
        ([make("a:b", [[1, 2]])], "'a:b': a survey name cannot contain ':'"),
        ([make("a", [[1, 2]], ids=[None])], "1 rows have no object_id"),
        (
            [make("a", [[1, 2]], z=pa.array([1])), make("b", [[1, 2]], z=pa.array(["x"]))],
            "features disagree about a column.* z",
        ),
        ([make("a", [[1, 2]], embedding=pa.array([[1.0, 2.0]]))], "float32 but is list<"),
    ],
)
def test_build_refuses(features, message):
    with pytest.raises(LatentIndexError, match=message):
        LatentIndex.build(features)


def test_build_refuses_features_without_a_column():
    whole = make("a", [[1, 2]])
    part = Features(table=whole.table.drop_columns("ra"), space_id=SPACE, encoders={})
    with pytest.raises(LatentIndexError, match="lack column 'ra'"):
        LatentIndex.build([part])


def test_build_refuses_a_row_without_position():
    with pytest.raises(CatalogError, match="dec of row 0 is nan"):
        LatentIndex.build([make("a", [[1, 2]], dec=[None])])


_ids = st.lists(st.text(max_size=6), min_size=1, max_size=8, unique=True)
_surveys = st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1, max_size=4)


@given(_ids, _ids, st.lists(_surveys, min_size=2, max_size=2, unique=True))
@settings(max_examples=60, deadline=None)
def test_every_key_finds_its_row(one_ids, other_ids, surveys):
    index = LatentIndex.build(
        [
            make(survey, [[i, number] for i in range(len(ids))], ids=ids)
            for number, (survey, ids) in enumerate(zip(surveys, (one_ids, other_ids), strict=True))
        ]
    )
    for number, ids in enumerate((one_ids, other_ids)):
        for i, object_id in enumerate(ids):
            key = f"{surveys[number]}:{object_id}"
            row = index.row(key)
            assert index.vectors[row].tolist() == [i, number]
            assert index.key(row) == key


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("sdss:c", "no object 'sdss:c'.*did you mean decals:c?"),
        ("hsc:b", "did you mean decals:b or sdss:b?"),
        ("b", "did you mean decals:b or sdss:b?"),
        ("sdss:a:2", "did you mean sdss:a:1"),
        ("decals:dead", "or it has no embedding"),
        ("nothing", "a key is SURVEY:ID with SURVEY one of decals, sdss"),
        ("", "a key is SURVEY:ID"),
    ],
)
def test_unknown_key_names_close_ones(index, key, message):
    with pytest.raises(LatentIndexError, match=message):
        index.row(key)


def test_check_space(index):
    index.check_space(SPACE)
    with pytest.raises(LatentIndexError, match="space 5bace0000000, not ffffffffffff"):
        index.check_space("f" * 64)


def test_open_gives_back_what_was_saved(index, saved):
    opened = LatentIndex.open(saved)
    assert same_index(opened, index)
    assert (opened.space_id, opened.encoders) == (index.space_id, index.encoders)
    asked = random_vectors(6, seed=9)
    for one, other in zip(opened.search(asked, 9), index.search(asked, 9), strict=True):
        assert_array_equal(one, other)


def test_saving_an_opened_index_writes_the_same_files(saved, tmp_path):
    LatentIndex.open(saved).save(tmp_path / "copy")
    LatentIndex.open(saved).save(saved)
    names = sorted(path.name for path in saved.iterdir())
    assert len(names) == 4
    for folder in (saved, tmp_path / "copy"):
        assert sorted(path.name for path in folder.iterdir()) == names
        assert LatentIndex.open(folder).row("sdss:a:1") >= 0


def test_saved_files_are_readable_without_this_library(index, saved):
    rows = pa.ipc.open_file(data_file(saved, "rows")).read_all()
    assert rows.column_names[:4] == ["object_id", "survey", "ra", "dec"]
    assert_array_equal(np.load(data_file(saved, "vectors")), index.vectors)
    header = json.loads((saved / "index.json").read_text())
    assert header["dimension"] == 3
    assert header["metric"] == "euclidean"
    assert header["space_id"] == SPACE
    (segment,) = header["segments"]
    assert segment["surveys"] == {"decals": 4, "sdss": 5}
    for kind in ("rows", "vectors"):
        assert file_hash(saved / segment[kind]["name"]) == segment[kind]["sha256"]
        assert segment[kind]["sha256"][:12] in segment[kind]["name"]


def test_a_folder_named_like_a_partition_adds_no_column(index, tmp_path):
    index.save(tmp_path / "survey=sdss" / "year=2026")
    assert same_index(LatentIndex.open(tmp_path / "survey=sdss" / "year=2026"), index)


def test_vectors_outlive_the_index_and_are_read_only(index, saved):
    vectors = LatentIndex.open(saved).vectors
    gc.collect()
    assert_array_equal(vectors, index.vectors)
    with pytest.raises(ValueError, match="read-only"):
        vectors[:][0, 0] = 1


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="needs /proc")
def test_opened_vectors_are_memory_mapped(saved):
    opened = LatentIndex.open(saved)
    assert str(data_file(saved, "vectors")) in Path("/proc/self/maps").read_text()
    assert len(opened) == 9


def test_saving_over_another_index_replaces_it(saved):
    new = LatentIndex.build([make("hsc", list(random_vectors(3, 2)))])
    opened_before = LatentIndex.open(saved)
    new.save(saved)
    assert same_index(LatentIndex.open(saved), new)
    assert opened_before.search(np.zeros((1, 3)), 1)[1].shape == (1, 1)
    del opened_before
    gc.collect()
    new.save(saved)
    assert len(list(saved.iterdir())) == 4


@pytest.mark.parametrize("kind", ["rows", "vectors"])
@pytest.mark.parametrize("damage", ["first", "middle", "last", "short", "empty", "missing"])
def test_damaged_file_is_named(saved, kind, damage):
    path = data_file(saved, kind)
    content = bytearray(path.read_bytes())
    if damage in ("first", "middle", "last"):
        content[{"first": 0, "middle": len(content) // 2, "last": -1}[damage]] ^= 1
    path.write_bytes({"short": content[:-1], "empty": b""}.get(damage, content))
    if damage == "missing":
        path.unlink()
    with pytest.raises(LatentIndexError, match=path.name) as caught:
        LatentIndex.open(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["space_id", "encoders", "dimension", "metric", "segments"])
def test_edited_header_is_refused(saved, key):
    path = saved / "index.json"
    header = json.loads(path.read_text())
    header[key] = {"sdss": "x"} if isinstance(header[key], dict) else "x"
    path.write_text(json.dumps(header))
    with pytest.raises(LatentIndexError, match=r"index\.json: was edited or damaged"):
        LatentIndex.open(saved)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ('{"format": 1', "is not JSON"),
        ("\udcff", "is not JSON"),
        ("[]", "is not an index of format 3"),
        ('{"format": 1}', "is not an index of format 3"),
        ('{"format": 3}', "was edited or damaged"),
    ],
)
def test_header_of_another_kind_is_refused(saved, text, message):
    (saved / "index.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(LatentIndexError, match=rf"index\.json: {message}"):
        LatentIndex.open(saved)


def rewrite_header(folder, change):
    path = folder / "index.json"
    header = json.loads(path.read_text())
    del header["header_sha256"]
    change(header)
    path.write_text(json.dumps({**header, "header_sha256": json_hash(header)}))


@pytest.mark.parametrize("wrong", [{"dimension": 4}, {"surveys": {"decals": 4, "sdss": 4}}])
def test_counts_must_agree(saved, wrong):
    rewrite_header(saved, lambda h: (h if "dimension" in wrong else h["segments"][0]).update(wrong))
    with pytest.raises(LatentIndexError, match="has 9 rows and its vectors are 9 of width 3"):
        LatentIndex.open(saved)


@pytest.mark.parametrize("record", [lambda h: h, lambda h: h["segments"][0]])
def test_a_kind_that_is_not_supported_is_named_in_one_line(saved, record):
    rewrite_header(saved, lambda header: record(header).update(kind="hnsw"))
    message = r"index\.json: kind 'hnsw' is not supported, only flat and ivfpq; build the index"
    with pytest.raises(LatentIndexError, match=message) as caught:
        LatentIndex.open(saved)
    assert "\n" not in str(caught.value)


def test_no_index_there(tmp_path):
    with pytest.raises(LatentIndexError, match=r"no index here.*galaxy-da index"):
        LatentIndex.open(tmp_path / "nowhere")


def test_a_file_in_the_way_of_the_folder(index, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file: the output folder could not be created"):
        index.save(tmp_path / "file")


@pytest.mark.parametrize("largest_bytes", [100, 30_000])
def test_no_room_leaves_the_old_index(index, saved, largest_bytes):
    big = LatentIndex.build([make("hsc", list(np.zeros((300, 40), np.float32)))])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, before[1]))
    try:
        with pytest.raises(StorageError, match=r"could not be written.*too large"):
            big.save(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert same_index(LatentIndex.open(saved), index)
    assert not [path for path in saved.iterdir() if path.name.startswith(".draft")]


@pytest.mark.parametrize("step", range(3))
def test_interrupted_save_leaves_the_old_index(index, saved, monkeypatch, step):
    new = LatentIndex.build([make("hsc", list(random_vectors(3, 2)))])
    replace, calls = Path.replace, []

    def interrupted(self, target):
        calls.append(target)
        if len(calls) > step:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            new.save(saved)
    assert same_index(LatentIndex.open(saved), index)
    new.save(saved)
    assert same_index(LatentIndex.open(saved), new)


_KILLED = """
import os, signal, sys
from galaxy_da.latent_index import LatentIndex

def kill_at(step):
    seen = 0
    def counted(function):
        def call(*args, **kwargs):
            nonlocal seen
            seen += 1
            if seen > step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return call
    os.replace, os.unlink = counted(os.replace), counted(os.unlink)

new, *folders = sys.argv[1:]
for step, folder in enumerate(folders):
    child = os.fork()
    if not child:
        kill_at(step)
        LatentIndex.open(new).save(folder)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_killed_save_leaves_a_whole_index(index, saved, tmp_path):
    new = LatentIndex.build([make("hsc", list(random_vectors(3, 2)))])
    new.save(tmp_path / "new")
    folders = [tmp_path / f"killed at {step}" for step in range(15)]
    for folder in folders:
        shutil.copytree(saved, folder)
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "new"), *map(str, folders)]
    ends = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(ends[:3]) == {str(-signal.SIGKILL)}
    assert ends[-1] == "0"
    is_new = [same_index(LatentIndex.open(folder), new) for folder in folders]
    is_old = [same_index(LatentIndex.open(folder), index) for folder in folders]
    assert [not flag for flag in is_new] == is_old
    assert is_old[0]
    assert is_new == sorted(is_new)
    assert is_new[-1]


def test_opening_while_another_process_saves(saved, monkeypatch):
    new = LatentIndex.build([make("hsc", list(random_vectors(3, 2)))])
    opened = segments.opened

    def overtaken(folder, *args, **kwargs):
        monkeypatch.setattr(segments, "opened", opened)
        new.save(folder)
        return opened(folder, *args, **kwargs)

    monkeypatch.setattr(segments, "opened", overtaken)
    assert same_index(LatentIndex.open(saved), new)
