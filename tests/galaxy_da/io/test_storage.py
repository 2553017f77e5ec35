"""Reading and writing work alike at paths and URLs."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from galaxy_da.cli import main
from galaxy_da.errors import StorageError, TableError
from galaxy_da.io.files import atomic_path, new_folder, write_json
from galaxy_da.io.samples import Sample
from galaxy_da.io.staging import local_copy, replace_paths, staged_folder
from galaxy_da.io.storage import (
    create_object,
    exists,
    is_folder,
    list_names,
    location,
    read_bytes,
    read_text,
    resolve,
    store_errors,
    upload,
)
from galaxy_da.io.tables import read_table, write_table

pytestmark = pytest.mark.usefixtures("store")


@pytest.mark.parametrize(
    "where", ["a/b", "/a/b", Path("/a/b"), UPath("/a/b"), "file:///a/b", "s:1"]
)
def test_local_locations_are_plain_paths(where):
    place = location(where)
    assert type(place) is type(Path())
    assert str(place) == str(where).removeprefix("file://")


def test_urls_have_the_methods_of_paths():
    place = location("memory://sky/decals/sample.parquet")
    assert str(place.parent / "cutouts" / "1.fits") == "memory://sky/decals/cutouts/1.fits"
    assert location(place) == place


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://b/k", r"gs://b/k: needs a library that speaks gs; install it with `pip install gcs"),
        ("gopher://b/k", r"gopher://b/k: is no path and no URL of a known store"),
    ],
)
def test_unusable_stores_are_named(url, message, capsys):
    with pytest.raises(StorageError, match=message):
        location(url)
    assert main(["export", url, "--out", "x.fits"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert url in error


def test_missing_s3fs_names_the_extra_to_install():
    script = "import sys; sys.modules['s3fs'] = None; from galaxy_da.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "export", "s3://b/k", "--out", "x.fits"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stderr.endswith("install it with `pip install galaxy_da[s3]`\n"), done.stderr
    assert done.stderr.count("\n") == 1


def test_option_for_a_local_path_rejects_a_url(capsys):
    assert main(["token", "me", "--file", "s3://bucket/tokens.json"]) == 2
    assert "takes a path of this machine, not the URL s3://bucket/tokens.json" in " ".join(
        capsys.readouterr().err.split()
    )


def test_cutout_uris_are_relative_absolute_or_urls(tmp_path):
    folder = location("memory://sky")
    assert str(resolve(folder, "a/1.fits")) == "memory://sky/a/1.fits"
    assert resolve(folder, "/data/1.fits") == Path("/data/1.fits")
    assert str(resolve(tmp_path, "memory://sky/1.fits")) == "memory://sky/1.fits"
    assert resolve(tmp_path, "1.fits") == tmp_path / "1.fits"


def test_interrupted_writes_leave_no_partial_object(store):
    with pytest.raises(KeyboardInterrupt), atomic_path("memory://out/a.txt") as path:
        path.write_text("half")
        raise KeyboardInterrupt
    assert not store
    write_json("memory://out/a.json", {"a": 1})
    with pytest.raises(KeyboardInterrupt), atomic_path("memory://out/a.json") as path:
        path.write_text("half")
        raise KeyboardInterrupt
    assert read_text(location("memory://out/a.json")) == '{\n "a": 1\n}\n'


def test_existence_and_listing_in_a_store(store):
    write_json("memory://out/deep/a.json", {})
    out = location("memory://out")
    assert exists(out / "deep" / "a.json")
    assert not exists(out / "deep")
    assert not exists(out / "b.json")
    assert is_folder(out)
    assert not is_folder(location("memory://nothing"))
    assert list_names(out) == {"deep"}
    assert list_names(location("memory://nothing")) == set()
    with pytest.raises(FileNotFoundError) as caught:
        read_bytes(out / "b.json")
    assert caught.value.filename == "memory://out/b.json"


def test_only_one_writer_creates_an_object():
    target = location("memory://out/1")
    create_object(target, b"mine")
    create_object(target, b"mine")  # repeated, as after a lost answer
    with pytest.raises(FileExistsError):
        create_object(target, b"theirs")
    assert read_bytes(target) == b"mine"


def test_tables_are_the_same_from_disk_and_store(tmp_path):
    table = pa.table({"object_id": ["a", "b"], "ra": [1.0, 2.0]})
    for place in (tmp_path, "memory://tables"):
        write_table(table, f"{place}/t.parquet")
        assert read_table(f"{place}/t.parquet").equals(table)
        assert read_table(f"{place}/t.parquet", ["ra"]).column_names == ["ra"]
    with pytest.raises(TableError, match=r"memory://tables/u\.parquet: no such table"):
        Sample("memory://tables/u.parquet")
    write_json("memory://tables/u.parquet", {})
    with pytest.raises(TableError, match=r"memory://tables/u\.parquet: is not a Parquet file"):
        Sample("memory://tables/u.parquet")


def test_object_is_downloaded_once(store):
    write_json("memory://in/a.json", {"a": 1})
    place = location("memory://in/a.json")
    copy = local_copy(place)
    assert copy.name == "a.json"
    store.clear()
    assert local_copy(place).read_text() == '{\n "a": 1\n}\n'
    with pytest.raises(FileNotFoundError):
        local_copy(location("memory://in/b.json"))


def test_store_errors_name_the_url():
    place = location("memory://in/a")
    with (
        pytest.raises(StorageError, match=r"memory://in/a: could not be read \(no bucket\); check"),
        store_errors(place),
    ):
        raise PermissionError("no  bucket")
    with pytest.raises(PermissionError), store_errors(Path("a")):
        raise PermissionError


def test_staged_files_are_uploaded_in_the_order_written(store, monkeypatch):
    order = []

    def record(source, target):
        order.append(target.name)
        upload(source, target)

    monkeypatch.setattr("galaxy_da.io.storage.upload", record)
    with staged_folder("memory://space") as folder:
        for name in ("z", "sub/a", "m"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)
        (folder / ".lock").touch()
        assert not store
    assert order == ["z", "a", "m"]
    assert list_names(location("memory://space")) == {"z", "sub", "m"}
    assert not folder.exists()
    found = {"sample": f"{folder}/sub/a", "rows": 3, "pairs": {"x": str(folder)}}
    assert replace_paths(found, folder, location("memory://space")) == {
        "sample": "memory://space/sub/a",
        "rows": 3,
        "pairs": {"x": "memory://space"},
    }


def test_staged_job_resumes_and_refuses_a_used_url(store):
    with pytest.raises(KeyboardInterrupt), staged_folder("memory://space") as folder:
        (folder / "checkpoint").write_text("half way")
        raise KeyboardInterrupt
    assert not store
    with staged_folder("memory://space") as folder:
        assert (folder / "checkpoint").read_text() == "half way"
    message = "memory://space: holds objects already"
    with pytest.raises(StorageError, match=message), staged_folder("memory://space"):
        pass
    with pytest.raises(ValueError), staged_folder("memory://other") as folder:
        raise ValueError
    assert not folder.exists()


@pytest.mark.parametrize("store_or_disk", ["memory://made", "disk"])
def test_new_folder_is_complete_or_absent(store_or_disk, tmp_path):
    where = store_or_disk if "://" in store_or_disk else tmp_path / store_or_disk
    with pytest.raises(KeyboardInterrupt), new_folder(where) as folder:
        folder.mkdir()
        (folder / "a").write_text("a")
        raise KeyboardInterrupt
    assert not is_folder(location(where))
    with new_folder(where) as folder:
        folder.mkdir()
        (folder / "a").write_text("a")
    assert list_names(location(where)) == {"a"}
    with pytest.raises(StorageError, match="is there already"), new_folder(where):
        pass
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []


def test_only_requested_columns_are_fetched_from_a_store(monkeypatch):
    table = pa.table({"object_id": ["a"] * 1000, "image": [bytes(1000)] * 1000})
    with atomic_path("memory://big.parquet") as path:
        pq.write_table(table, path, compression=None, use_dictionary=False)
    read = []
    fetch = MemoryFileSystem.cat_file
    monkeypatch.setattr(
        MemoryFileSystem,
        "cat_file",
        lambda self, *args, **kwargs: read.append(args) or fetch(self, *args, **kwargs),
    )
    assert read_table("memory://big.parquet", ["object_id"]).num_rows == 1000
    assert not read
