"""Kills at random moments and a full disk: no acknowledged job is lost or finishes twice."""

import errno
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from service_helpers import zipped

from galaxy_da.io.locks import try_lock
from galaxy_da.service.jobs import process
from galaxy_da.service.jobs.queue import ENDED, JobQueue, State
from galaxy_da.service.jobs.runner import JobRunner
from galaxy_da.service.parts import JobSettings

RUNNER = """
import sys, time
from pathlib import Path
from galaxy_da.service.jobs.queue import JobQueue
from galaxy_da.service.jobs.runner import JobRunner
JobRunner(JobQueue(Path(sys.argv[1])), 2).start()
print("up", flush=True)
time.sleep(600)
"""


def killable_runner(folder):
    """Start a runner in a process of its own, like a worker of the service."""
    child = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "up\n"
    return child


def submitted(workspace, queue, count=1):
    """Submit jobs while no runner is active."""
    jobs = JobSettings(queue=queue, space=str(workspace.folder / "space"))
    http = TestClient(workspace.sharing_app(jobs=jobs))
    files = {"sample": zipped(workspace.folder / "sdss")}
    answers = [http.post("/api/jobs", data={"verb": "extract"}, files=files) for _ in range(count)]
    assert [answer.status_code for answer in answers] == [202] * count
    return [answer.json()["id"] for answer in answers]


def processes(job_id):
    """List the process of a job, without its children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        pid = int(path.parent.name)
        try:
            words, leads = path.read_bytes().split(b"\0"), os.getpgid(pid) == pid
        except OSError:
            continue
        if (
            leads
            and process.__name__.encode() in words
            and any(job_id.encode() in word for word in words)
        ):
            found.append(pid)
    return found


@pytest.mark.parametrize(
    "rounds", [2, pytest.param(25, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_runners_and_jobs_killed_at_random(workspace, tmp_path, rounds):
    queue = JobQueue(tmp_path)
    ids = submitted(workspace, queue, max(2, rounds // 4))
    dice, most, stop = random.Random(rounds), dict.fromkeys(ids, 0), threading.Event()

    def watch():
        while not stop.wait(0.05):
            for job_id in ids:
                most[job_id] = max(most[job_id], len(processes(job_id)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(rounds):
        child = killable_runner(tmp_path)
        time.sleep(dice.uniform(0.2, 4))
        victims = [pid for job_id in ids for pid in processes(job_id)]
        # a job may crash twice; the third time it fails
        if victims and sum(queue.get(job_id).crashes for job_id in ids) < 2:
            os.kill(dice.choice(victims), signal.SIGKILL)
        child.kill()
        child.wait()
        child.stdout.close()
    runner = JobRunner(queue, 2)
    runner.start()
    while any(queue.get(job_id).state not in ENDED for job_id in ids):
        time.sleep(0.1)
    outcomes = {i: (queue.path(i) / process.OUTCOME).stat().st_mtime_ns for i in ids}
    time.sleep(1)
    runner.stop()
    stop.set()
    watcher.join()
    assert {queue.get(job_id).state for job_id in ids} == {State.DONE}
    assert max(most.values()) == 1
    for job_id in ids:
        results = sorted(path.name for path in (queue.path(job_id) / process.RESULTS).iterdir())
        assert results == ["features.parquet", "features.zip"]
        assert (queue.path(job_id) / process.OUTCOME).stat().st_mtime_ns == outcomes[job_id]


def test_a_job_killed_three_times_fails(workspace, tmp_path):
    queue = JobQueue(tmp_path)
    (job_id,) = submitted(workspace, queue)
    runner = JobRunner(queue, 1)
    runner.start()
    while queue.get(job_id).state not in ENDED:
        for pid in processes(job_id):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    runner.stop()
    job = queue.get(job_id)
    assert (job.state, job.crashes) == (State.FAILED, 3) and "killed" in job.message


def test_a_start_that_was_interrupted_is_no_crash(workspace, tmp_path):
    queue = JobQueue(tmp_path)
    (job_id,) = submitted(workspace, queue)
    for _ in range(4):  # four runners in a row are killed before the process exists
        assert queue.move(job_id, State.QUEUED, State.RUNNING)
        JobRunner(queue, 0)._tick()
    job = queue.get(job_id)
    assert (job.state, job.crashes) == (State.QUEUED, 0) and "interrupted" in job.message


@pytest.mark.parametrize("point", [1, 2])
def test_a_crash_counts_once_wherever_the_runner_is_killed(workspace, tmp_path, point):
    queue = JobQueue(tmp_path)
    (job_id,) = submitted(workspace, queue)
    assert queue.move(job_id, State.QUEUED, State.RUNNING)
    (queue.path(job_id) / process.PID).write_text("1")

    class Killed(JobQueue):
        changes = 0

        def _execute(self, sql, *values):
            result = super()._execute(sql, *values)
            self.changes += sql.startswith("UPDATE")
            if self.changes == point:
                raise KeyboardInterrupt
            return result

    with suppress(KeyboardInterrupt):
        JobRunner(Killed(tmp_path), 0)._tick()
    JobRunner(queue, 0)._tick()
    job = queue.get(job_id)
    assert (job.state, job.crashes) == (State.QUEUED, 1)


def test_a_job_whose_process_never_begins_fails(workspace, tmp_path, monkeypatch):
    queue = JobQueue(tmp_path)
    (job_id,) = submitted(workspace, queue)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    runner = JobRunner(queue, 1)
    runner.start()
    while queue.get(job_id).state not in ENDED:
        time.sleep(0.05)
    runner.stop()
    job = queue.get(job_id)
    assert (job.state, job.crashes) == (State.FAILED, 3)


def test_a_job_whose_folder_is_gone_fails_and_the_next_one_runs(workspace, tmp_path):
    queue = JobQueue(tmp_path)
    first, second = submitted(workspace, queue, 2)
    shutil.rmtree(queue.path(first))
    runner = JobRunner(queue, 1)
    runner.start()
    while queue.get(second).state not in ENDED:
        time.sleep(0.05)
    runner.stop()
    assert queue.get(first).state is State.FAILED and "removed" in queue.get(first).message
    assert queue.get(second).state is State.DONE


def test_a_job_waits_while_its_upload_holds_the_lock(workspace, tmp_path):
    queue = JobQueue(tmp_path)
    (job_id,) = submitted(workspace, queue)
    lock = try_lock(queue.path(job_id) / process.LOCK)
    JobRunner(queue, 1)._tick()
    os.close(lock)
    assert queue.get(job_id).state is State.QUEUED


def test_jobs_of_a_stopped_service_continue_at_the_next_start(workspace, tmp_path):
    queue = JobQueue(tmp_path)
    (job_id,) = submitted(workspace, queue)
    first = JobRunner(queue, 1)
    first.start()
    while not (queue.path(job_id) / process.PID).exists():
        time.sleep(0.02)
    first.stop()
    assert processes(job_id) == []
    job = queue.get(job_id)
    assert job.state in (State.QUEUED, State.DONE) and job.crashes == 0
    second = JobRunner(queue, 1)
    second.start()
    while queue.get(job_id).state not in ENDED:
        time.sleep(0.05)
    second.stop()
    assert queue.get(job_id).state is State.DONE


def test_only_one_runner_is_active(tmp_path):
    queue = JobQueue(tmp_path)
    child = killable_runner(tmp_path)
    deadline = time.monotonic() + 20
    while (lock := try_lock(tmp_path / ".runner")) is not None:
        os.close(lock)
        assert time.monotonic() < deadline
    second = JobRunner(queue, 1)
    second.start()
    time.sleep(0.5)
    assert second._lock is None
    child.kill()
    child.wait()
    child.stdout.close()
    while second._lock is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second.stop()


def test_an_interrupted_upload_is_removed(workspace, tmp_path):
    queue = JobQueue(tmp_path)
    (kept,) = submitted(workspace, queue)
    left, going_on = queue.path(queue.new_id()), queue.path(queue.new_id())
    for folder in (left, going_on):
        folder.mkdir()
        (folder / process.LOCK).touch()
        (folder / "upload").mkdir()
    lock = try_lock(going_on / process.LOCK)
    queue.cancel(kept)
    runner = JobRunner(queue, 1)
    runner.start()
    while left.exists():
        time.sleep(0.02)
    runner.stop()
    assert queue.path(kept).exists() and going_on.exists()
    os.close(lock)


def test_a_full_disk_is_reported_and_leaves_no_files(workspace, tmp_path, monkeypatch):
    queue = JobQueue(tmp_path)
    jobs = JobSettings(queue=queue, space="decals")
    http = TestClient(workspace.sharing_app(jobs=jobs), raise_server_exceptions=False)
    given = {"data": {"verb": "extract"}, "files": {"sample": zipped(workspace.folder / "sdss")}}

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        answer = http.post("/api/jobs", **given)
        assert answer.status_code == 507 and "full" in answer.json()["error"]["message"]
    connect = sqlite3.connect

    def small(*args, **kwargs):
        database = connect(*args, **kwargs)
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
        return database

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        given["data"]["options"] = json.dumps({"reconstruct": False})
        while (code := http.post("/api/jobs", **given).status_code) == 202:
            pass
        assert code == 507
    folders = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert folders == queue.ids()
    assert http.post("/api/jobs", **given).status_code == 202
