"""Commands under torchrun, compared with one process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sharing_helpers import write_two_surveys

RECIPE = """
name = "tiny"
seed = {seed}
[sky]
galaxies = 192
[architecture]
widths = [8, 16, 16]
features = 32
latents = 6
[objective]
noise = 0.33
[optimiser]
epochs = {epochs}
batch = 16
learning_rate = 3e-3
warmup_steps = 5
"""


def command(processes, *arguments):
    if processes == 1:
        return [sys.executable, "-m", "galaxy_da", *map(str, arguments)]
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [sys.executable, *start, "-m", "galaxy_da", *map(str, arguments)]


def run(processes, *arguments, status=0):
    done = subprocess.run(
        command(processes, *arguments),
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == status, done.stderr
    return done


def recipe(folder, seed, epochs=6):
    path = folder / f"tiny-{seed}-{epochs}.toml"
    path.write_text(RECIPE.format(seed=seed, epochs=epochs))
    return path


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_mistake_is_reported_once(tmp_path):
    """Both processes find the recipe missing; one line reports it, before torchrun's report."""
    done = run(2, "pretrain", tmp_path / "none.toml", "--out", tmp_path / "s", status=1)
    lines = [line for line in done.stderr.splitlines() if line.startswith("galaxy-da:")]
    assert len(lines) == 1 and "no such recipe" in lines[0]
    assert "Traceback (most recent call last)" not in done.stderr.split("galaxy-da:")[0]
    assert not done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_processes_pretrain_to_the_metrics_of_one(tmp_path):
    """The difference is below that of seeds, and one process prints."""
    found = {}
    for processes, seed in ((1, 3), (1, 4), (1, 5), (2, 3)):
        out = tmp_path / f"{processes}-{seed}"
        arguments = ("pretrain", recipe(tmp_path, seed), "--out", out, "--json")
        found[processes, seed] = json.loads(run(processes, *arguments).stdout)["reconstruction"]
    print(found)
    seeds = [found[1, seed] for seed in (3, 4, 5)]
    assert abs(found[2, 3] - found[1, 3]) < np.std(seeds, ddof=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("whom", "how"),
    [("all", signal.SIGINT), ("all", signal.SIGTERM), (0, signal.SIGINT), (1, signal.SIGINT)],
)
def test_an_interrupt_ends_all_with_one_line_and_one_process_can_continue(tmp_path, whom, how):
    toml, out = recipe(tmp_path, 3, epochs=12), tmp_path / "s"
    arguments = ("pretrain", toml, "--out", out, "--json")
    with subprocess.Popen(
        command(2, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as both:  # fmt: skip
        while not (out / "work" / "checkpoint.safetensors").is_file():
            assert both.poll() is None, both.stderr.read()
            time.sleep(0.01)
        os.kill(both.pid if whom == "all" else worker(both.pid, whom), how)
        stdout, stderr = both.communicate()
    assert both.returncode != 0 and not stdout
    said = [line for line in stderr.splitlines() if line.startswith("galaxy-da:")]
    assert said == ["galaxy-da: interrupted; run the same command again to go on"]
    again = run(1, *arguments)
    assert "epoch 12" in again.stderr and "epoch 1:" not in again.stderr


def worker(parent, rank):
    """Find the process of a rank."""
    workers = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for number in workers:
        if f"RANK={rank}".encode() in Path(f"/proc/{number}/environ").read_bytes().split(b"\0"):
            return int(number)
    raise AssertionError(f"no worker of rank {rank} among {workers}")


@pytest.fixture(scope="module")
def surveys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("surveys")
    write_two_surveys(folder, 360)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_processes_adapt_to_the_metrics_of_one(surveys, tmp_path):
    found = {}
    for processes, seed in ((1, 0), (1, 1), (1, 2), (2, 0)):
        arguments = (
            "adapt", "--space", surveys / "space",
            "--anchor", surveys / "decals" / "sample.parquet",
            "--target", surveys / "sdss" / "sample.parquet", "--pairs", surveys / "pairs.parquet",
            "--steps", 30, "--seed", seed, "--out", tmp_path / f"{processes}-{seed}", "--json",
        )  # fmt: skip
        done = json.loads(run(processes, *arguments).stdout)
        scores = {k: v["mean_reciprocal_rank"] for k, v in done["candidates"].items()}
        found[processes, seed] = scores
    print(found)
    seeds = [found[1, seed]["fine-tuned"] for seed in (0, 1, 2)]
    change = found[2, 0]["fine-tuned"] - found[1, 0]["fine-tuned"]
    assert abs(change) < max(np.std(seeds, ddof=1), 0.01)
    for name in ("ridge-to-identity", "instrument"):
        assert found[2, 0][name] == pytest.approx(found[1, 0][name], abs=0.01)
