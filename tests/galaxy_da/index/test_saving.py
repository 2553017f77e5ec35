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
from index_helpers import SPACE, data_file, make, random_vectors, same_index
from numpy.testing import assert_array_equal

from galaxy_da.errors import LatentIndexError, StorageError
from galaxy_da.index import segments
from galaxy_da.io.files import file_hash, json_hash
from galaxy_da.latent_index import LatentIndex


def test_open_returns_the_saved_index(index, saved):
    opened = LatentIndex.open(saved)
    assert same_index(opened, index)
    assert (opened.space_id, opened.encoders) == (index.space_id, index.encoders)
    queries = random_vectors(6, seed=9)
    for one, other in zip(opened.search(queries, 9), index.search(queries, 9), strict=True):
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


def test_an_index_of_earlier_versions_states_a_limit_of_memory(index, saved):
    rewrite_header(saved, lambda header: header.update(memory_bytes=1))
    assert same_index(LatentIndex.open(saved), index)


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


def test_a_missing_index_is_named(tmp_path):
    with pytest.raises(LatentIndexError, match=r"no index here.*galaxy-da index"):
        LatentIndex.open(tmp_path / "nowhere")


def test_a_file_in_the_way_of_the_folder(index, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file: the output folder could not be created"):
        index.save(tmp_path / "file")


@pytest.mark.parametrize("largest_bytes", [100, 30_000])
def test_a_full_disk_during_save_leaves_the_old_index(index, saved, largest_bytes):
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
    calls = 0
    def counted(function):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls > step:
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
