"""The verbs of the index print and do what Python does."""

import json

import pytest
from index_helpers import make, random_vectors, write_features

from galaxy_da.cli import main
from galaxy_da.index import Subset
from galaxy_da.latent_index import LatentIndex


def run(capsys, *words):
    capsys.readouterr()
    status = main([str(word) for word in words])
    return status, *capsys.readouterr()


@pytest.fixture
def result(capsys):
    def call(*words):
        status, out, err = run(capsys, *words, "--json")
        assert status == 0, err
        return json.loads(out)

    return call


@pytest.fixture
def folders(tmp_path):
    parts = {
        "sdss": make("sdss", list(random_vectors(9)), ids=["a:b", " ", "ü", *"defghi"]),
        "hsc": make("hsc", list(random_vectors(6, seed=1)), kind=["ring", "disc"] * 3),
    }
    return [write_features(tmp_path / name, part) for name, part in parts.items()]


def test_index_is_built_changed_and_described(result, folders, tmp_path):
    path = tmp_path / "index"
    said = result("index", folders[0], "--out", path)
    assert (said["rows"], said["surveys"], said["dead_rows"]) == (9, "sdss", 0)
    assert said["segment 1"].startswith("flat: 9 vectors, fewer than")
    assert result("index", "add", path, folders[1])["added"] == 6
    assert result("index", "delete", path, "--id", "sdss:a:b", "--id", "sdss: ")["deleted"] == 2
    assert (
        result("index", "delete", path, "--survey", "hsc", "--where", "kind = ring")["deleted"] == 3
    )
    (tmp_path / "ids.txt").write_text("sdss:ü\nsdss:d\n", encoding="utf-8")
    assert result("index", "delete", path, "--ids", tmp_path / "ids.txt")["deleted"] == 2
    before = LatentIndex.open(path).rows.to_pylist()
    assert len(before) == 8
    said = result("index", "rebuild", path)
    assert (said["rows"], said["dead_rows"]) == (8, 0)
    assert LatentIndex.open(path).rows.to_pylist() == before
    assert result("index", "add", path, folders[0], "--replace")["rows"] == 12
    assert result("index", "info", path, "--check")["check"] == "whole"
    assert result("index", "delete", path, "--survey", "hsc")["surveys"] == "sdss"


def test_similar_filters_as_python_does(result, folders, tmp_path):
    path = tmp_path / "index"
    result("index", *folders, "--out", path)
    said = result(
        "similar", path, "--id", "sdss:a:b", "-k", 4, "--in", "hsc",
        "--where", "kind in ring,disc", "--where", "flags < 5", "--cone", 10.5, 0, 13000,
    )  # fmt: skip
    answer = LatentIndex.open(path).similar(
        "sdss:a:b",
        4,
        "hsc",
        within=Subset(where=["kind in ring,disc", ("flags", "<", 5)], cone=(10.5, 0, 13000)),
    )
    assert said["rows"] == answer.to_pylist()
    assert 0 < answer.num_rows <= 4


def test_dry_run_prints_the_cost_and_writes_nothing(result, folders, tmp_path):
    said = result("index", *folders, "--out", tmp_path / "index", "--dry-run")
    assert (said["rows"], said["dimension"], said["kind"]) == (15, 3, "flat")
    assert said["memory_bytes"] == 15 * 3 * 4
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "delete", "INDEX"], "give --id or --ids, or else --survey or --where"),
        (["index", "delete", "INDEX", "--id", "a:b", "--survey", "hsc"], "give --id or --ids"),
        (["index", "delete", "INDEX", "--where", "flags"], "expected COLUMN OPERATOR VALUE"),
        (["index", "rebuild", "INDEX", "--kind", "tree"], "kind must be auto"),
        (["similar", "INDEX", "--id", "sdss:d", "--where", "flags > x"], "'x' does not fit"),
    ],
)
def test_mistakes_are_one_line(capsys, folders, tmp_path, arguments, message):
    run(capsys, "index", *folders, "--out", tmp_path / "index")
    words = (tmp_path / "index" if word == "INDEX" else word for word in arguments)
    status, _, err = run(capsys, *words)
    assert status == 2
    assert message in " ".join(err.replace("│", " ").split())


def test_build_is_the_default(capsys, folders, tmp_path):
    assert run(capsys, "index", "build", folders[0], "--out", tmp_path / "named")[0] == 0
    assert run(capsys, "index", "--out", tmp_path / "short", folders[0])[0] == 0
    named, short = (LatentIndex.open(tmp_path / name).rows for name in ("named", "short"))
    assert named.equals(short)
