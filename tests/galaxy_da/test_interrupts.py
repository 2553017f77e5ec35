"""An interrupted command says so in one line, ends with 130, and can be run again."""

import os
import signal
import subprocess
import sys

import pyarrow.parquet as pq
from conftest import blobs, write_sample

from galaxy_da.cli import run_function
from galaxy_da.errors import TableError

LINE = "galaxy-da: interrupted; run the same command again to go on\n"


def interrupted_inside(error):
    def command():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if error is not None:
                raise error from None

    return command


def test_an_interrupt_that_a_library_turns_into_another_error(capsys):
    handler = signal.getsignal(signal.SIGINT)
    for error in (AttributeError("partially initialized module"), TableError("a: is no table")):
        assert run_function(interrupted_inside(error), "galaxy-da", []) == 130
        assert capsys.readouterr().err == LINE
    assert run_function(interrupted_inside(None), "galaxy-da", []) == 0
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_interrupted_extraction(space, tmp_path):
    sample = write_sample(tmp_path / "decals", blobs(400, 96, 0.262))
    space.save(tmp_path / "space")
    words = ["extract", "--space", tmp_path / "space", "--sample", sample, "--out", tmp_path / "f"]
    command = [sys.executable, "-m", "galaxy_da", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        while b"extract:" not in (said := os.read(child.stderr.fileno(), 4096)):
            assert said
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=300)
    assert child.returncode == 130
    assert error.decode().splitlines(keepends=True)[-1] == LINE
    assert "Traceback" not in error.decode()
    subprocess.run(command, check=True, capture_output=True)
    parts = sorted((tmp_path / "f").glob("part-*.parquet"))
    assert sum(pq.read_metadata(part).num_rows for part in parts) == 400
