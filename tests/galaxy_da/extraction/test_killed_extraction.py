"""Killed extractions leave whole parts, and resume to the same result."""

import json
import os
import subprocess
import sys

import pytest
from conftest import blobs, write_sample

_KILLER = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
import numpy as np
import pandas  # which pyarrow would import in every child
import pyarrow.parquet as pq
import torch
from conftest import make_space
from galaxy_da.extraction import loading, parts
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.pipeline import extract as run
from galaxy_da.io.features import vectors
from galaxy_da.io.samples import Sample

sample, out = Sample(sys.argv[1]), Path(sys.argv[2])
kills, seed = map(int, sys.argv[3:])
torch.set_num_threads(1)
parts._PART_ROWS = loading._BATCH_ROWS = 16
space, draw = make_space(), random.Random(seed)

def extract(folder):
    return run(space, sample, folder, ExtractSettings(precision="fp32")).table

def start():
    pid = os.fork()
    if not pid:
        extract(out)
        os._exit(0)
    return pid

def compare(table, whole):
    assert table["object_id"].equals(whole["object_id"])
    np.testing.assert_allclose(vectors(table), vectors(whole), atol=1e-5)

begun = time.perf_counter()
assert os.waitpid(start(), 0)[1] == 0
longest = time.perf_counter() - begun
whole = extract(out)  # which only reads what the child has written
assert whole.num_rows == len(sample)
shutil.rmtree(out)
ends = {"killed": 0, "finished": 0, "wholes": 0}
while ends["killed"] < kills:
    pid = start()
    time.sleep(draw.uniform(0, longest / 3))
    os.kill(pid, signal.SIGKILL)
    ended = os.waitpid(pid, 0)[1]
    ends["killed" if ended else "finished"] += 1
    for number, path in enumerate(sorted(out.glob("part-*"))):
        part = pq.read_table(path)
        compare(part, whole.slice(16 * number, part.num_rows))
    if (out / "features.json").is_file():
        compare(extract(out), whole)
        shutil.rmtree(out)
        ends["wholes"] += 1
compare(extract(out), whole)
print(json.dumps(ends))
"""


def kill_extractions(tmp_path, kills, seed):
    sample = write_sample(tmp_path / "decals", blobs(150, 140, 0.262))
    command = [sys.executable, "-c", _KILLER, str(sample), str(tmp_path / "out"), str(kills)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [*command, str(seed)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_killed_extractions_lose_nothing(tmp_path):
    assert kill_extractions(tmp_path, 12, 0)["killed"] == 12


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_hundreds_of_killed_extractions_lose_nothing(tmp_path):
    ends = kill_extractions(tmp_path, 300, 1)
    assert ends["wholes"] > 3
