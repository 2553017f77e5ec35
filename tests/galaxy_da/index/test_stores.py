"""An index in an object store is the same, and loses no change of concurrent writers."""

from datetime import timedelta

import pytest
from filelock import FileLock
from index_helpers import make, random_vectors, same_index

from galaxy_da.errors import LatentIndexError, StorageError
from galaxy_da.index import add, create, delete, rebuild, stores
from galaxy_da.io import storage
from galaxy_da.io.storage import cache_folder, list_names, location, url_hash
from galaxy_da.latent_index import LatentIndex

URL = "memory://survey/index"


pytestmark = pytest.mark.usefixtures("store")


def features(survey, n=40):
    return make(survey, list(random_vectors(n, 4, len(survey))))


def changed(where):
    create(where, [features("decals")])
    add(where, [features("hsc"), features("sdss")])
    delete(where, ["hsc:id 3", "decals:id 7"])
    add(where, [features("hsc")], replace=True)
    return LatentIndex.open(where)


def test_changes_in_a_store_match_those_on_disk(tmp_path):
    one, other = changed(tmp_path / "index"), changed(URL)
    assert same_index(one, other)
    found, expected = (index.similar("sdss:id 1", k=5).table for index in (one, other))
    assert found.equals(expected)
    assert one.generation == other.generation == 4
    for where in (tmp_path / "index", URL):
        rebuild(where)
    assert same_index(LatentIndex.open(tmp_path / "index"), LatentIndex.open(URL))


def test_cached_files_are_not_fetched_again(monkeypatch):
    changed(URL)
    fetched = []
    get = stores.download
    monkeypatch.setattr(
        stores,
        "download",
        lambda source, target: fetched.append(source.name) or get(source, target),
    )
    LatentIndex.open(URL)
    assert fetched == ["index-000004.json"]
    folder = next(path for path in cache_folder("indexes").iterdir() if path.is_dir())
    for path in folder.glob("vectors-*"):
        path.write_bytes(b"spoilt")
    assert len(LatentIndex.open(URL)) == 119
    assert any(name.startswith("vectors-") for name in fetched)


def copied(url):
    """Return the size of the copies of an index in the user's cache [bytes]."""
    folder = cache_folder("indexes") / url_hash(location(url))
    return sum(path.stat().st_size for path in folder.iterdir())


def test_copies_opened_longest_ago_make_room(monkeypatch):
    one, two, three = (f"memory://survey/{name}" for name in ("one", "two", "three"))
    for url in (one, two, three):
        create(url, [features("decals")])
        LatentIndex.open(url)
    size = copied(one)
    LatentIndex.open(one)
    monkeypatch.setenv("GALAXY_DA_INDEX_CACHE_GIB", str(2.5 * size / 2**30))
    used = LatentIndex.open(one)
    assert [copied(url) > 0 for url in (one, two, three)] == [True, False, True]
    LatentIndex.open(two)
    assert [copied(url) > 0 for url in (one, two, three)] == [True, True, False]
    again = LatentIndex.open(three)
    assert [copied(url) > 0 for url in (one, two, three)] == [True, False, True]
    assert same_index(used, again)
    monkeypatch.setenv("GALAXY_DA_INDEX_CACHE_GIB", "0")
    delete(two, ["decals:id 1"])
    assert [copied(url) > 0 for url in (one, two, three)] == [True, True, True]  # all in use
    del used, again
    LatentIndex.open(two)
    assert [copied(url) > 0 for url in (one, two, three)] == [False, True, False]


def test_remains_of_killed_processes_are_removed_from_the_cache(monkeypatch):
    create(URL, [features("decals")])
    LatentIndex.open(URL)
    cache = cache_folder("indexes")
    partial = cache / url_hash(location(URL)) / ".rows-1.arrow.0.partial"
    dead, used = cache / "change-dead", cache / "change-used"
    for folder in (dead, used):
        folder.mkdir()
        (folder / ".fetching").touch()
    (partial / "content").mkdir(parents=True)
    with FileLock(used / ".fetching"):
        LatentIndex.open(URL)
        assert used.is_dir() and not dead.exists() and not partial.exists()


def test_a_cache_limit_must_be_a_number(monkeypatch):
    monkeypatch.setenv("GALAXY_DA_INDEX_CACHE_GIB", "many")
    with pytest.raises(StorageError, match="GALAXY_DA_INDEX_CACHE_GIB: is 'many' but has to be"):
        create(URL, [features("decals")])
    monkeypatch.delenv("GALAXY_DA_INDEX_CACHE_GIB")
    with pytest.raises(LatentIndexError, match="no index here"):
        LatentIndex.open(URL)


def test_the_second_of_two_writers_gets_an_error():
    create(URL, [features("decals")])

    def meanwhile(index):
        delete(URL, ["decals:id 1"])
        return index.select(where="flags < 5")

    with pytest.raises(LatentIndexError, match="another process changed this index meanwhile"):
        delete(URL, meanwhile)
    left = LatentIndex.open(URL)
    assert len(left) == 39
    assert left.key(1) == "decals:id 10"
    delete(URL, lambda index: index.select(where="flags < 5"))
    assert len(LatentIndex.open(URL)) == 35


def test_a_writer_that_died_before_its_manifest_changed_nothing(monkeypatch):
    before = changed(URL)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(stores, "create_object", die)
        rebuild(URL)
    assert same_index(before, LatentIndex.open(URL))
    rebuild(URL)
    assert len(LatentIndex.open(URL)) == len(before)


def test_unused_files_are_removed_after_a_day(monkeypatch):
    changed(URL)
    there = list_names(location(URL))
    rebuild(URL)
    kept = list_names(location(URL))
    assert there <= kept
    monkeypatch.setattr(storage, "_KEPT", timedelta(0))
    rebuild(URL)
    data = {name for name in list_names(location(URL)) if not name.startswith("index-")}
    index = LatentIndex.open(URL)
    assert data == {file.name for part in index.segments for file in part.files.files()}


def test_a_reader_whose_files_are_removed_reads_the_newer_index(monkeypatch):
    create(URL, [features("decals")])
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder("elsewhere")))
    monkeypatch.setattr(storage, "_KEPT", timedelta(0))
    get, calls = stores.download, []

    def slow(source, target):
        calls.append(source.name)
        if source.name.startswith("rows-") and len(calls) == 2:
            with pytest.MonkeyPatch.context() as other:
                other.setenv("XDG_CACHE_HOME", str(cache_folder("another")))
                create(URL, [features("hsc")])
        get(source, target)

    monkeypatch.setattr(stores, "download", slow)
    assert LatentIndex.open(URL).surveys == ("hsc",)


def test_a_folder_copied_into_a_store_is_an_index(tmp_path):
    create(tmp_path / "index", [features("decals")])
    target = location(URL)
    for path in (tmp_path / "index").iterdir():
        if path.name[0] != ".":
            target.fs.pipe_file((target / path.name).path, path.read_bytes())
    add(URL, [features("hsc")])
    assert LatentIndex.open(URL).surveys == ("decals", "hsc")


def test_missing_files_are_named():
    with pytest.raises(LatentIndexError, match=f"{URL}: no index here"):
        LatentIndex.open(URL)
    with pytest.raises(LatentIndexError, match=f"{URL}: no index here"):
        add(URL, [features("hsc")])
    create(URL, [features("decals")])
    (gone,) = (name for name in list_names(location(URL)) if name.startswith("vectors-"))
    (location(URL) / gone).unlink()
    for path in cache_folder("indexes").glob("*/vectors-*"):
        path.unlink()
    with pytest.raises(LatentIndexError, match=f"{gone}: is missing though index-000001.json"):
        LatentIndex.open(URL)
