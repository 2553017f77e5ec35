"""Killed writers and full disks lose no acknowledged change and disturb no open index."""

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from index_helpers import data_file, make, random_vectors, same_index

from galaxy_da.errors import StorageError
from galaxy_da.index import add, create, delete, rebuild
from galaxy_da.latent_index import LatentIndex

_KILLER = """
import json, os, random, signal, sys, time
import numpy as np
import pandas  # which pyarrow would import in every child
from index_helpers import make
from galaxy_da.latent_index import LatentIndex
from galaxy_da.index import add, delete, rebuild

folder, rounds, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
draw = random.Random(seed)
serial = 0

def next_change(model):
    global serial
    kind = draw.choice(["add", "add", "delete", "rebuild"])
    if kind == "add":
        serial += 1
        return kind, {f"s:{serial}-{i}": [serial, i] for i in range(draw.randint(1, 40))}
    if kind == "delete" and len(model) > 1:
        return kind, draw.sample(sorted(model), draw.randint(1, len(model) // 2))
    return "rebuild", None

def after(model, change):
    kind, what = change
    if kind == "add":
        return {**model, **what}
    return {key: v for key, v in model.items() if key not in (what or ())}

def apply(change):
    kind, what = change
    if kind == "add":
        add(folder, [make("s", list(what.values()), ids=[key[2:] for key in what])])
    elif kind == "delete":
        delete(folder, what)
    else:
        rebuild(folder)

def child(work):
    out, into = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(out)
        work(into)
        os._exit(0)
    os.close(into)
    return pid, open(out, "rb")

def contents(into):
    index = LatentIndex.open(folder, whole=True)
    with open(into, "w") as stream:
        json.dump(dict(zip(map(index.key, range(len(index))), index.vectors[:].tolist())), stream)

def read_on(into):
    # opens the index again and again until SIGTERM; every vector must be its key's
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    opened = 0
    while not stopped:
        index = LatentIndex.open(folder)
        ids = index.take(np.arange(len(index)), ["object_id"])["object_id"].to_pylist()
        for name, vector in zip(ids, index.vectors[:].tolist()):
            assert vector == ([0, 0] if name == "first" else list(map(int, name.split("-"))))
        opened += 1
        time.sleep(0.005)
    os.write(into, str(opened).encode())

def plan(model, count):
    models, changes = [model], []
    for _ in range(count):
        changes.append(next_change(models[-1]))
        models.append(after(models[-1], changes[-1]))
    return models, changes

def start(changes):
    def write(into):
        for change in changes:
            apply(change)
            os.write(into, b".")
    return child(write)

reader, reads = child(read_on)
models, changes = plan({"s:first": [0, 0]}, 4)
begun = time.perf_counter()
pid, acknowledged = start(changes)
os.waitpid(pid, 0)
longest = time.perf_counter() - begun  # four changes, however busy the machine is
assert len(acknowledged.read()) == 4
model = models[-1]
ends = {"before": 0, "after": 0, "changes": 0}
for _ in range(rounds):
    models, changes = plan(model, 20)
    pid, acknowledged = start(changes)
    time.sleep(draw.uniform(0, longest))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    done = len(acknowledged.read())
    pid, stream = child(contents)
    found = json.load(stream)
    os.waitpid(pid, 0)
    if found == models[done]:
        model = models[done]
        ends["before"] += 1
    else:
        assert found == models[done + 1], f"{done} acknowledged, {changes[done]}"
        model = models[done + 1]
        ends["after"] += 1
    ends["changes"] += done
os.kill(reader, signal.SIGTERM)
ends["opened"] = int(reads.read())
print(json.dumps(ends))
"""


def kill_writers(folder, rounds, seed):
    create(folder, [make("s", [[0, 0]], ids=["first"])])
    reader = LatentIndex.open(folder)
    command = [sys.executable, "-c", _KILLER, str(folder), str(rounds), str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    ends = json.loads(done.stdout)
    assert ends["before"] + ends["after"] == rounds
    assert ends["changes"] > 0
    assert ends["opened"] > rounds
    assert reader.similar(np.zeros(2), 1)["object_id"].to_pylist() == ["first"]
    rebuild(folder)
    assert not list(folder.glob(".draft*"))


def test_killed_writers_lose_nothing(tmp_path):
    kill_writers(tmp_path, 40, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_hundreds_of_killed_writers_lose_nothing(tmp_path, seed):
    kill_writers(tmp_path, 150, seed)


@pytest.mark.parametrize("largest_bytes", [0, 50, 200, 1000, 3000, 10_000])
def test_a_full_disk_leaves_the_index_as_it_was(tmp_path, largest_bytes):
    create(tmp_path, [make("a", list(random_vectors(300, 40)))])
    delete(tmp_path, ["a:id 3"])
    before = LatentIndex.open(tmp_path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    for change in (
        lambda: add(tmp_path, [make("b", list(random_vectors(100, 40)))]),
        lambda: delete(tmp_path, [f"a:id {i}" for i in range(100, 200)]),
        lambda: rebuild(tmp_path),
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, limit[1]))
        try:
            change()
        except StorageError as error:
            assert "could not be written" in str(error)
            assert "\n" not in str(error)
            assert same_index(LatentIndex.open(tmp_path), before)
        else:
            assert largest_bytes >= 3000
            before = LatentIndex.open(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert not list(tmp_path.glob(".draft*"))
    rebuild(tmp_path)
    assert same_index(LatentIndex.open(tmp_path), before)


@pytest.mark.parametrize("damage", ["flip", "short", "missing"])
def test_a_damaged_list_of_deleted_rows_is_named(tmp_path, damage):
    create(tmp_path, [make("a", list(random_vectors(30)))])
    delete(tmp_path, ["a:id 3"])
    path = data_file(tmp_path, "deleted")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content[:-1] if damage == "short" else content)
    if damage == "missing":
        path.unlink()
    for use in (LatentIndex.open, rebuild):
        with pytest.raises(Exception, match=path.name) as caught:
            use(tmp_path)
        assert type(caught.value).__name__ == "LatentIndexError"
        assert "\n" not in str(caught.value)
