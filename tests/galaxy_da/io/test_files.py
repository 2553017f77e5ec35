import hashlib
import json

import pytest

from galaxy_da.errors import StorageError
from galaxy_da.io.files import atomic_path, ensure_folder, file_hash, json_hash, write_json


def test_failed_write_leaves_the_old_file_alone(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"x": 1})
    with pytest.raises(RuntimeError, match="midway"), atomic_path(target) as path:
        path.write_text("half")
        raise RuntimeError("midway")
    assert json.loads(target.read_text()) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_concurrent_writers_use_different_temporary_files(tmp_path):
    """Processes of two hosts that share a disk can have the same number."""
    target = tmp_path / "a.txt"
    with atomic_path(target) as one:
        one.write_text("one")
        with atomic_path(target) as other:
            other.write_text("other")
        assert target.read_text() == "other"
    assert target.read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_full_disk_gives_one_clear_line(tmp_path):
    expected = r"a\.json: could not be written \(No space left"
    with pytest.raises(StorageError, match=expected), atomic_path(tmp_path / "a.json"):
        raise OSError(28, "No space left on device")


def test_file_in_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(StorageError, match="output folder could not be created"):
        ensure_folder(tmp_path / "out" / "deeper")


def test_hashes_match_hashlib(tmp_path):
    (tmp_path / "b").write_bytes(b"galaxy" * 1000)
    assert file_hash(tmp_path / "b") == hashlib.sha256(b"galaxy" * 1000).hexdigest()
    assert json_hash({"b": 1, "a": [1.5]}) == hashlib.sha256(b'{"a":[1.5],"b":1}').hexdigest()
