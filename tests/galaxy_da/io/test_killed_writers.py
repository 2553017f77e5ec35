"""Killed writers of every kind of output leave the old or the new one, whole, and no files."""

import json
import os
import subprocess
import sys

import killing_helpers
import pytest

KINDS = sorted(killing_helpers.KINDS)


def kill_writers(kinds, folder, kills, seed):
    words = [killing_helpers.__file__, ",".join(kinds), str(folder), str(kills), str(seed)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ends = json.loads(done.stdout.splitlines()[-1])
    for kind in kinds:
        assert ends[kind]["before"] + ends[kind]["after"] == kills and ends[kind]["before"]
    # A draft stays until its name is written again; those of kinds with a new name each time may.
    assert not [path for path in folder.rglob("*.partial") if not path.name.startswith(".sky-")]


def test_killed_writers_leave_a_whole_output(tmp_path):
    kill_writers([kind for kind in KINDS if kind not in ("HATS", "sky")], tmp_path, 5, 0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_hundreds_of_killed_writers_leave_a_whole_output(kind, tmp_path):
    kill_writers([kind], tmp_path, 200, 1)
