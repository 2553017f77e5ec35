"""Worker processes give the results of one process, even if workers are killed."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

pytest.importorskip("lsdb", reason="needs the extra 'hats'")

import dask
from cluster_helpers import check_catalogue, extract_here
from conftest import blobs, make_space, write_sample
from dask.distributed import Client, Scheduler, SpecCluster, Status, Worker
from index_helpers import make, random_vectors, write_features

from galaxy_da.cluster import index as cluster_index
from galaxy_da.cluster.scheduling import running, workers_here
from galaxy_da.errors import ClusterError
from galaxy_da.extraction.encoding import ExtractSettings
from galaxy_da.extraction.pipeline import extract
from galaxy_da.index import create, manifest
from galaxy_da.io.samples import Sample
from galaxy_da.latent_index import LatentIndex


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes, each replaced if it is killed."""
    with workers_here(2) as cluster:
        yield cluster


class _Killer(threading.Thread):
    """Kills random workers at random times, but none that is starting.

    Dask's nanny does not restart workers killed at the start.
    """

    def __init__(self, cluster, kills, seed, pause_s):
        super().__init__(daemon=True)
        self.killed = 0
        self._draw, self._cluster, self._kills = random.Random(seed), cluster, kills
        self._pause_s, self._ended = pause_s, threading.Event()

    def run(self):
        while not self._ended.wait(self._draw.uniform(*self._pause_s)):
            processes = [nanny.process for nanny in self._cluster.workers.values()]
            alive = [p.pid for p in processes if p is not None and p.status == Status.running]
            if alive and self.killed < self._kills:
                os.kill(self._draw.choice(alive), signal.SIGKILL)
                self.killed += 1

    def stop(self):
        self._ended.set()
        self.join()


def test_a_killed_worker_costs_only_its_partition(sample, local, tmp_path, cluster):
    killer = _Killer(cluster, 1, 0, (0.1, 0.2))
    killer.start()
    extract_here(sample, tmp_path / "out", cluster.scheduler_address)
    killer.stop()
    assert killer.killed == 1
    check_catalogue(tmp_path / "out", local)


def test_vectors_coded_on_workers_make_the_same_files(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(cluster_index, "SHARD_ROWS", 2_500)
    features = [write_features(tmp_path / "sdss", make("sdss", list(random_vectors(12_000, 8))))]
    create(tmp_path / "one", features, kind="ivfpq")
    cluster_index.create_on_workers(
        tmp_path / "two", features, kind="ivfpq", scheduler=cluster.scheduler_address
    )
    one, two = (
        [file.sha256 for part in manifest.read(tmp_path / name).segments for file in part.files()]
        for name in ("one", "two")
    )
    assert one == two
    queries = random_vectors(20, 8, seed=1)
    opened = [LatentIndex.open(tmp_path / name) for name in ("one", "two")]
    ours, theirs = ([part.tolist() for part in index.search(queries, 10)] for index in opened)
    assert ours == theirs


def test_workers_keep_the_memory_they_free(cluster):
    with Client(cluster.scheduler_address) as client:
        found = client.run(lambda: int(os.environ["MALLOC_TRIM_THRESHOLD_"]))
    assert min(found.values()) >= 2**30


def _where(shared):
    return shared.get(), dask.distributed.get_worker().name


def test_tasks_go_to_workers_with_a_gpu_and_shared_values_to_all():
    def worker(**options):
        return {"cls": Worker, "options": {"nthreads": 1, "dashboard": False, **options}}

    workers = {"plain": worker(), "gpu": worker(resources={"GPU": 1})}
    scheduler = {"cls": Scheduler, "options": {"dashboard": False}}
    with SpecCluster(workers=workers, scheduler=scheduler) as cluster:
        with running(cluster.scheduler_address) as run:
            shared = run.share([1, 2])
            tasks = [dask.delayed(_where, pure=False)(shared) for _ in range(6)]
            assert list(run.as_done(tasks)) == [([1, 2], "gpu")] * 6
            assert {name for _, name in run.in_order(tasks[:0])} == set()
        with Client(cluster.scheduler_address) as client:
            left = client.run(lambda dask_worker: list(dask_worker.plugins))
        assert not any(name.startswith("galaxy_da") for names in left.values() for name in names)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_killed_workers_change_nothing(tmp_path, cluster):
    sample = write_sample(tmp_path / "decals", blobs(1_500, 64, 0.55))
    whole = extract(make_space(), Sample(sample), settings=ExtractSettings(precision="fp32")).table
    killed = number = 0
    while killed < 20:
        out = tmp_path / f"out{number}"
        killer = _Killer(cluster, 20 - killed, number, (1, 8))
        killer.start()
        while not (out / "features.json").is_file():
            with suppress(ClusterError):  # a partition was lost four times: the command runs again
                extract_here(sample, out, cluster.scheduler_address)
        killer.stop()
        check_catalogue(out, whole)
        killed, number = killed + killer.killed, number + 1
    assert killed == 20


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("n_workers", [2, 4])
def test_any_number_of_workers_makes_the_same_catalogue(sample, local, tmp_path, n_workers):
    with workers_here(n_workers) as cluster:
        extract_here(sample, tmp_path / "out", cluster.scheduler_address)
    check_catalogue(tmp_path / "out", local)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lost_scheduler_costs_only_unfinished_partitions(tmp_path):
    sample = write_sample(tmp_path / "decals", blobs(400, 64, 0.55))
    whole = extract(make_space(), Sample(sample), settings=ExtractSettings(precision="fp32")).table
    address, out = "tcp://127.0.0.1:18786", tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "dask"]
    scheduler = subprocess.Popen([*command, "scheduler", "--port", "18786", "--no-dashboard"])
    worker = subprocess.Popen([*command, "worker", address, "--nthreads", "1"], env=environment)

    def kill():
        while len(list(out.rglob("Npix=*"))) < 5:
            time.sleep(0.1)
        scheduler.kill()

    threading.Thread(target=kill, daemon=True).start()
    try:
        with pytest.raises(ClusterError, match="the Dask scheduler was lost; what is finished"):
            extract_here(sample, out, address)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("Npix=*")}
    assert len(before) >= 5
    extract_here(sample, out)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    check_catalogue(out, whole)
