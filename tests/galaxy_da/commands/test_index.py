"""The verbs say and do what Python does."""

import json

import pytest
import typer
from index_helpers import make, random_vectors, write_features
from typer.testing import CliRunner

from galaxy_da.commands import index as index_commands
from galaxy_da.commands import queries as query_commands
from galaxy_da.latent_index import LatentIndex

VERBS = {
    "index": index_commands.index,
    "index-add": index_commands.index_add,
    "index-delete": index_commands.index_delete,
    "index-rebuild": index_commands.index_rebuild,
    "index-info": index_commands.index_info,
    "similar": query_commands.similar,
}


def shell():
    app = typer.Typer()
    for name, function in VERBS.items():
        app.command(name)(function)
    return app


def run(*arguments):
    done = CliRunner().invoke(shell(), [str(a) for a in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def result(*arguments):
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def folders(tmp_path):
    parts = {
        "sdss": make("sdss", list(random_vectors(9)), ids=["a:b", " ", "ü", *"defghi"]),
        "hsc": make("hsc", list(random_vectors(6, seed=1)), kind=["ring", "disc"] * 3),
    }
    return [write_features(tmp_path / name, part) for name, part in parts.items()]


def test_a_life_of_an_index(folders, tmp_path):
    path = tmp_path / "index"
    said = result("index", folders[0], "--out", path)
    assert (said["rows"], said["surveys"], said["dead_rows"]) == (9, "sdss", 0)
    assert said["segment 1"].startswith("flat: 9 vectors, fewer than")
    assert result("index-add", path, folders[1])["added"] == 6
    assert result("index-delete", path, "--id", "sdss:a:b", "--id", "sdss: ")["deleted"] == 2
    assert result("index-delete", path, "--survey", "hsc", "--where", "kind = ring")["deleted"] == 3
    (tmp_path / "ids.txt").write_text("sdss:ü\nsdss:d\n", encoding="utf-8")
    assert result("index-delete", path, "--ids", tmp_path / "ids.txt")["deleted"] == 2
    before = LatentIndex.open(path).rows.to_pylist()
    assert len(before) == 8
    said = result("index-rebuild", path)
    assert (said["rows"], said["dead_rows"]) == (8, 0)
    assert LatentIndex.open(path).rows.to_pylist() == before
    assert result("index-add", path, folders[0], "--replace")["rows"] == 12
    assert result("index-info", path, "--check")["check"] == "whole"
    assert result("index-delete", path, "--survey", "hsc")["surveys"] == "sdss"


def test_similar_filters_as_python_does(folders, tmp_path):
    path = tmp_path / "index"
    result("index", *folders, "--out", path)
    said = result(
        "similar", path, "--id", "sdss:a:b", "-k", 4, "--in", "hsc",
        "--where", "kind in ring,disc", "--where", "flags < 5", "--cone", 10.5, 0, 13000,
    )  # fmt: skip
    answer = LatentIndex.open(path).similar(
        "sdss:a:b", 4, "hsc", where=["kind in ring,disc", ("flags", "<", 5)], cone=(10.5, 0, 13000)
    )
    assert said["rows"] == answer.to_pylist()
    assert 0 < answer.num_rows <= 4


def test_dry_run_says_the_cost_and_writes_nothing(folders, tmp_path):
    said = result("index", *folders, "--out", tmp_path / "index", "--dry-run")
    assert (said["rows"], said["dimension"], said["kind"]) == (15, 3, "flat")
    assert said["memory_bytes"] == 15 * 3 * 4
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index-delete", "INDEX"], "give --id or --ids, or else --survey or --where"),
        (["index-delete", "INDEX", "--id", "a:b", "--survey", "hsc"], "give --id or --ids"),
        (["index-delete", "INDEX", "--where", "flags"], "expected COLUMN OPERATOR VALUE"),
        (["index-rebuild", "INDEX", "--kind", "tree"], "kind must be auto"),
        (["similar", "INDEX", "--id", "sdss:d", "--where", "flags > x"], "'x' is none"),
    ],
)
def test_mistakes_are_one_line(folders, tmp_path, arguments, message):
    result("index", *folders, "--out", tmp_path / "index")
    done = run(*(tmp_path / "index" if a == "INDEX" else a for a in arguments))
    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())
